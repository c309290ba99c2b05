//! product-bus
