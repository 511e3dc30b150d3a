#!/usr/bin/env bash
# Install (Debian, once) and start Orthanc with its DICOMweb plug-in on this computer only.
#
#   bash scripts/start_orthanc.sh [FOLDER]
#
# FOLDER keeps the images, default ./orthanc_data. The DICOMweb address is then
# http://127.0.0.1:${ORTHANC_PORT:-8042}/dicom-web. Runs until stopped with Ctrl+C.
set -euo pipefail

folder=$(realpath -m "${1:-orthanc_data}")
port=${ORTHANC_PORT:-8042}

if ! command -v Orthanc >/dev/null; then
  echo "Orthanc is not installed; installing it from Debian." >&2
  bash "$(dirname "${BASH_SOURCE[0]}")/install_debian.sh" orthanc orthanc-dicomweb
fi

plugin=$(find /usr/share/orthanc/plugins /usr/lib/orthanc /usr/lib -name 'libOrthancDicomWeb.so*' 2>/dev/null | head -n 1 || true)
if [ -z "$plugin" ]; then
  echo "Expected libOrthancDicomWeb.so of the package orthanc-dicomweb, found none." >&2
  exit 1
fi

mkdir -p "$folder"
cat > "$folder/orthanc.json" <<JSON
{
  "Name": "conceptseg",
  "StorageDirectory": "$folder/storage",
  "IndexDirectory": "$folder/storage",
  "Plugins": ["$plugin"],
  "HttpServerEnabled": true,
  "HttpPort": $port,
  "HttpBindAddresses": ["127.0.0.1"],
  "RemoteAccessAllowed": false,
  "AuthenticationEnabled": false,
  "DicomServerEnabled": false,
  "DicomWeb": {"Enable": true, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"}
}
JSON
echo "Orthanc: http://127.0.0.1:$port/dicom-web (images in $folder)"
exec Orthanc "$folder/orthanc.json"
