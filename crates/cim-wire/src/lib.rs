//! The application protocol: bytes in, values out, no I/O
