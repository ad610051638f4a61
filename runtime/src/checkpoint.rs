//! How are a container's processes written to files by CRIU, and made again from them?
//!
//! Host half, as root. [`dump`] and [`restore`] list the steps. `external` finds what is the host's and not the
//! container's, `attributes` are those of mounts, `images` is the directory with the files, and `strays` looks for what
//! restored processes should not have. Files of images are not trusted: they are code that root of the host is asked to
//! run. What they made is audited before it runs.

mod attributes;
pub mod dump;
mod external;
mod images;
pub mod options;
pub mod readiness;
pub mod restore;
mod strays;
