//! The backends of this build. The only file that looks at cargo features.
//!
//! A backend that was left out registers a stand-in, so that its error names the feature to build with.

#[cfg(all(feature = "sink-tcp", feature = "tls"))]
mod tcp_tls;

use cim_core::Registry;

/// All kinds this build knows.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::new();

    #[cfg(feature = "sink-stdout")]
    registry.sink(cim_sink_stdout::KIND);
    #[cfg(not(feature = "sink-stdout"))]
    registry.compiled_out("stdout", "sink-stdout");

    #[cfg(feature = "sink-file")]
    registry.sink(cim_sink_file::KIND);
    #[cfg(not(feature = "sink-file"))]
    registry.compiled_out("file", "sink-file");

    #[cfg(feature = "sink-kafka")]
    registry.sink(cim_sink_kafka::KIND);
    #[cfg(not(feature = "sink-kafka"))]
    registry.compiled_out("kafka", "sink-kafka");

    #[cfg(all(feature = "sink-tcp", feature = "tls"))]
    registry.sink(cim_sink_tcp::kind::<tcp_tls::Tls>());
    #[cfg(all(feature = "sink-tcp", not(feature = "tls")))]
    registry.sink(cim_sink_tcp::kind::<cim_sink_tcp::NoSecurity>());
    #[cfg(not(feature = "sink-tcp"))]
    registry.compiled_out("tcp", "sink-tcp");

    registry
}
