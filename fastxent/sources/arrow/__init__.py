"""Arrow files, tables, frames and streams as sources."""
