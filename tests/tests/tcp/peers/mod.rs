//! Who stands at the other end of a TCP sink in a test.

pub mod authority;
pub mod sockets;
