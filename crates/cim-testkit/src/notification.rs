//! A notification as the fault management writes it.
//!
//! Owns the headers. Left out: the value, which CIM hands on as it is.

/// Names and values of the headers of a notification with that local event name.
#[must_use]
pub fn notification_headers(name: &str) -> [(&'static str, &str); 8] {
    [
        ("domain", "notification"),
        ("eventName", "Notification"),
        ("localEventName", name),
        ("nfNamingCode", "amf"),
        ("nfcNamingCode", "amf-svc"),
        ("localNfID", "l1"),
        ("replay", "false"),
        ("spring_json_header_types", "{}"),
    ]
}
