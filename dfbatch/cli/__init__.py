"""The command line: ``dfbatch --help``. One file per noun; heavy imports happen inside the commands."""
