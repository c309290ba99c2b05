//! product-analytics
