"""Parts of the conceptseg app for MONAI Label."""
