//! Contracts and engine: intake, delivery, supervision
