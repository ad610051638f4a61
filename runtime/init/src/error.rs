//! How does a step say what went wrong?

use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::io::Errno;

/// The call that failed, on what, and the kernel's answer.
pub(crate) struct Error {
    pub(crate) call: &'static str,
    pub(crate) path: Vec<u8>,
    pub(crate) errno: Option<Errno>,
    pub(crate) hint: Vec<u8>,
}

pub(crate) type Result<T> = core::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(call: &'static str, errno: Errno) -> Error {
        Error { call, path: Vec::new(), errno: Some(errno), hint: Vec::new() }
    }

    /// What the kernel did not refuse, but we do.
    pub(crate) fn refused(call: &'static str, path: &[u8], hint: &str) -> Error {
        Error { call, path: path.into(), errno: None, hint: hint.into() }
    }

    /// The same with the object of the call.
    pub(crate) fn on(mut self, path: &[u8]) -> Error {
        self.path = path.into();
        self
    }

    /// The same with a remedy or reason.
    pub(crate) fn hint(mut self, hint: &str) -> Error {
        self.hint = hint.into();
        self
    }
}

/// Names the call of a system call's result.
pub(crate) trait Call<T> {
    fn call(self, call: &'static str) -> Result<T>;
    fn call_on(self, call: &'static str, path: &CStr) -> Result<T>;
}

impl<T> Call<T> for core::result::Result<T, Errno> {
    fn call(self, call: &'static str) -> Result<T> {
        self.map_err(|errno| Error::new(call, errno))
    }

    fn call_on(self, call: &'static str, path: &CStr) -> Result<T> {
        self.map_err(|errno| Error::new(call, errno).on(path.to_bytes()))
    }
}
