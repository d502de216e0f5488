//! The `cim` program.

fn main() {}
