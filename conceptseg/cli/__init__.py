"""The console command `conceptseg`."""
