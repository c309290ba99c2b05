//! A child of `faultline up` never outlives it.

/// Asks the kernel to kill this process when its parent dies (`PR_SET_PDEATHSIG`); Linux only, else nothing.
/// Call first in `main` of a child.
pub fn die_with_parent() -> std::io::Result<()> {
    todo!()
}
