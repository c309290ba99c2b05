//! product-core
