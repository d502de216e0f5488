//! Whether a right is granted, asked of the API server itself.
//!
//! Owns the question. Left out: what a missing right means. Invariant: nothing is changed or listed by asking; every
//! service account may ask about itself.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};

use crate::rights::{Right, Scope};

/// The right to ask.
pub(crate) const ASK: Right = Right {
    verb: "create",
    group: "authorization.k8s.io",
    resource: "selfsubjectaccessreviews",
    scope: Scope::Cluster,
    purpose: "asks whether a right is granted",
};

/// A right, and whether this process has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The right.
    pub right: Right,
    /// Whether it is granted.
    pub allowed: bool,
}

/// The question about one right.
pub(crate) fn question(right: &Right, namespace: &str) -> SelfSubjectAccessReview {
    let namespace = match right.scope {
        Scope::OwnNamespace => Some(namespace.to_owned()),
        Scope::Cluster => None,
    };
    let attributes = ResourceAttributes {
        namespace,
        verb: Some(right.verb.to_owned()),
        group: Some(right.group.to_owned()),
        resource: Some(right.resource.to_owned()),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    }
}

/// The answer in a review.
pub(crate) fn is_allowed(review: &SelfSubjectAccessReview) -> bool {
    review.status.as_ref().is_some_and(|status| status.allowed)
}
