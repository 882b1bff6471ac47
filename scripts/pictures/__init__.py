"""Pictures of the README and of help pages: clips of Loom Mini, and how they are drawn and saved."""
