//! Hand-written scenarios.
