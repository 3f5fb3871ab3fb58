//! The embedded relay: one gateway alone, history in its memory.
