//! Conformance suites, fakes and fault injection for every contract
