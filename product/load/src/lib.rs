//! product-load
