//! A real SoftHSM token of one's own, for each test.
