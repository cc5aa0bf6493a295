//! docs/compat.md.
