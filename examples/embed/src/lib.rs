//! cim-core inside a service
