//! Nothing: this package consists of tests.
