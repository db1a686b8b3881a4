//! Forces rollbacks.
