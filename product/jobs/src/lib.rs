//! product-jobs
