//! The cim program: settings, registry of backends, assembly, command line
