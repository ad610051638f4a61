//! Do kernel parameters and names of the container's namespaces have the values that were asked for?
//!
//! They are seen only from inside of the namespaces: a copy of this process goes there and reads
//! them through the host's procfs.

use std::os::fd::BorrowedFd;

use nix::sched::CloneFlags;

use crate::error::{Context, Result};
use crate::launch::setns_helper;
use crate::plan::{NEWIPC, NEWNET, NEWUSER, NEWUTS};
use crate::sys::path::Proc;

use super::Expected;
use super::report::{Report, Verdict};

const OTHERS: &str = "others share the namespace";
const WRITABLE: &str = "it may write /proc/sys itself";
const MAY_NAME: &str = "its own capabilities let it";

/// What is read there, where it stands in config.json, and its value.
struct Parameter {
    place: String,
    path: String,
    asked: String,
    own: Option<&'static str>,
}

/// `linux.sysctl`, `hostname` and `domainname`.
pub(super) fn compare(expected: &Expected<'_>, first: BorrowedFd<'_>, report: &mut Report) {
    let all = parameters(expected);
    if all.is_empty() {
        return;
    }
    // Those of the runtime's own are seen from here. In the user namespace ids have the numbers that
    // config.json gives them.
    let kinds = expected.plan.host.namespaces & (NEWNET | NEWIPC | NEWUTS | NEWUSER);
    let kinds = CloneFlags::from_bits_truncate(i32::try_from(kinds).unwrap_or(0));
    let ask = |proc: &Proc, index: usize| -> Result<String> {
        let path = all.get(index).map(|parameter| parameter.path.as_str()).unwrap_or_default();
        proc.read(&format!("sys/{path}")).context(format_args!("read /proc/sys/{path}"))
    };
    let answers = match setns_helper::ask_in_namespaces_of(first, kinds, all.len(), ask) {
        Ok(answers) => answers,
        Err(error) => return all.iter().for_each(|parameter| report.skip(&parameter.place, &error.to_string())),
    };
    for (parameter, answer) in all.iter().zip(answers) {
        let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let Parameter { place, asked, own, .. } = parameter;
        match answer {
            Ok(found) if words(&found) == words(asked) => report.holds(place),
            Ok(found) => {
                let verdict = own.filter(|_| expected.started).map_or(Verdict::Differs, Verdict::Own);
                report.note(place, None, verdict, &asked, &words(&found));
            }
            Err(why) => report.skip(place, &why),
        }
    }
}

fn parameters(expected: &Expected<'_>) -> Vec<Parameter> {
    let init = &expected.plan.init;
    let guarded = init
        .root
        .as_ref()
        .is_some_and(|root| root.readonly_paths.iter().any(|path| b"/proc/sys".starts_with(path.to_bytes())));
    let writable = (!guarded || expected.may_mount).then_some(WRITABLE);
    let shared = |path: &str| {
        let kind = match path {
            path if path.starts_with("net/") => NEWNET,
            "kernel/domainname" | "kernel/hostname" => NEWUTS,
            _ => NEWIPC,
        };
        (expected.joined & kind != 0).then_some(OTHERS)
    };
    // The names in config.json are sorted alike.
    let names = expected.spec.linux.sysctl.keys();
    let mut all: Vec<Parameter> = init
        .sysctl
        .iter()
        .zip(names)
        .map(|(sysctl, name)| {
            let path = sysctl.path.to_string_lossy().into_owned();
            let own = shared(&path).or(writable);
            let asked = sysctl.value.to_string_lossy().into_owned();
            Parameter { place: format!("linux.sysctl[{name:?}]"), path, asked, own }
        })
        .collect();
    for (place, name) in [("hostname", &init.hostname), ("domainname", &init.domainname)] {
        let Some(name) = name else { continue };
        let path = format!("kernel/{place}");
        let own = shared(&path).or_else(|| expected.may_mount.then_some(MAY_NAME));
        all.push(Parameter { place: place.to_owned(), path, asked: name.to_string_lossy().into_owned(), own });
    }
    all
}
