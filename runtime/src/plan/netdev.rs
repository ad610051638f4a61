//! Which network devices of the host does the container get, and under which names?

use std::collections::HashSet;

use cleat_plan::Text;
use serde::Serialize;

use super::clone_flags::NEWNET;
use super::findings::Findings;
use super::namespaces::Namespaces;
use super::place::Place;
use super::place::place;
use super::place::text;
use crate::error::Result;
use crate::plan::host::Host;
use crate::spec::{Object, Spec};

/// Longest name: `IFNAMSIZ` is 16 with the zero byte at the end.
const MAX_NAME: usize = 15;

/// A network device that moves into the container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetDevice {
    /// Its name where the runtime is.
    pub host_name: Text,
    /// Its name in the container.
    pub container_name: NewName,
}

/// The name of a device in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum NewName {
    /// This one, which must be free there.
    Fixed(Text),
    /// With `%d` in it, for which the kernel puts the lowest number that is free there.
    Template(Text),
}

impl NewName {
    /// As config.json has it.
    #[must_use]
    pub fn text(&self) -> &Text {
        match self {
            NewName::Fixed(text) | NewName::Template(text) => text,
        }
    }
}

/// The place of a device in config.json.
pub(crate) fn place_of(host_name: &str) -> Place {
    Place::new(format!("linux.netDevices[{host_name:?}]"))
}

/// Checks and converts `linux.netDevices`. Fixed names come first: no template may take one.
///
/// Source: runtime-spec config-linux.md § Network Devices; Linux net/core/dev.c, `dev_valid_name`
/// and `__dev_alloc_name`.
pub(super) fn decide(spec: &Spec, namespaces: &Namespaces, host: &Host, findings: &mut Findings) -> Vec<NetDevice> {
    let asked = &spec.linux.net_devices;
    if asked.is_empty() {
        return Vec::new();
    }
    let all = place("linux.netDevices");
    if !namespaces.has(NEWNET) {
        findings.problems.push(
            all.error("needs a network namespace of the container's own")
                .remedy("add {\"type\": \"network\"} to linux.namespaces"),
        );
    }
    if host.euid != 0 {
        findings.problems.push(all.error("an ordinary user cannot move network devices").remedy("it takes root"));
    }
    let mut taken = HashSet::new();
    let (mut fixed, mut templates) = (Vec::with_capacity(asked.len()), Vec::new());
    let asked: Vec<_> = asked.iter().collect();
    findings.each(&asked, |_, (name, Object(device))| {
        let place = place_of(name);
        check_name(&place, name)?;
        if name.contains('%') {
            return Err(place.error("no network device has a \"%\" in its name"));
        }
        if *name == "lo" {
            return Err(place
                .error("the loopback device cannot be moved")
                .remedy("every network namespace has its own"));
        }
        // An empty name is one that was not given, as in Go.
        let new_name = if device.name.is_empty() { *name } else { &device.name };
        let is_template = is_template(&place.at("name"), new_name)?;
        let (host_name, container_name) = (text(name)?, text(new_name)?);
        if is_template {
            templates.push(NetDevice { host_name, container_name: NewName::Template(container_name) });
        } else if taken.insert(new_name.as_str()) {
            fixed.push(NetDevice { host_name, container_name: NewName::Fixed(container_name) });
        } else {
            return Err(place
                .error(format_args!("would be {new_name:?} in the container, as another of linux.netDevices is"))
                .remedy("choose another \"name\""));
        }
        Ok(())
    });
    fixed.append(&mut templates);
    fixed
}

/// Whether the kernel is to put a number into the name.
fn is_template(place: &Place, name: &str) -> Result<bool> {
    check_name(place, name)?;
    match name.split_once('%') {
        None => Ok(false),
        Some((_, rest)) if rest.starts_with('d') && !rest.contains('%') => Ok(true),
        Some(_) => Err(place.error(format_args!(
            "{name:?}: a \"%\" may stand there once, as \"%d\", for which the kernel puts a free number"
        ))),
    }
}

/// What the kernel takes for a name.
fn check_name(place: &Place, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(place.error("is empty").remedy("a network device's name has 1 to 15 bytes"));
    }
    if name.len() > MAX_NAME {
        return Err(place.error(format_args!("{name:?} is longer than {MAX_NAME} bytes")));
    }
    if name == "." || name == ".." {
        return Err(place.error(format_args!("{name:?} cannot be a network device's name")));
    }
    // isspace of the kernel, which knows Latin-1: some letters of UTF-8 have that byte in them.
    let is_space = |byte: u8| matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0);
    if name.bytes().any(|byte| byte == b'/' || byte == b':' || is_space(byte)) {
        return Err(
            place.error(format_args!("{name:?} must not contain \"/\", \":\" or white space, nor the byte 0xa0"))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn decide_with(devices: &Value) -> std::result::Result<Vec<(String, NewName)>, String> {
        decide_on(&json!([{ "type": "network" }]), devices, 0)
    }

    fn decide_on(
        namespaces: &Value,
        devices: &Value,
        euid: u32,
    ) -> std::result::Result<Vec<(String, NewName)>, String> {
        let config = json!({ "linux": { "namespaces": namespaces, "netDevices": devices } });
        let spec: Spec = serde_json::from_value(config).map_err(|error| error.to_string())?;
        let namespaces = Namespaces::decide(&spec.linux.namespaces, &mut Findings::default());
        let mut findings = Findings::default();
        let host = Host { euid, ..Host::default() };
        let devices = decide(&spec, &namespaces, &host, &mut findings);
        findings
            .warnings()
            .map(|_| devices)
            .map(|list| list.into_iter().map(|d| (d.host_name.to_string(), d.container_name)).collect())
            .map_err(|error| error.to_string())
    }

    fn fixed(name: &str) -> NewName {
        NewName::Fixed(text(name).unwrap())
    }

    fn template(name: &str) -> NewName {
        NewName::Template(text(name).unwrap())
    }

    #[test]
    fn a_device_keeps_its_name_unless_it_is_given_another() {
        let list = decide_with(&json!({ "a": {}, "b": { "name": "" }, "c": { "name": null }, "d": { "name": "e" } }));
        let pair = |host: &str, container: &str| (host.to_owned(), fixed(container));
        assert_eq!(list.unwrap(), [pair("a", "a"), pair("b", "b"), pair("c", "c"), pair("d", "e")]);
    }

    /// Names may change places; templates come last, lest they take what is asked for.
    #[test]
    fn fixed_names_come_before_templates() {
        let list = decide_with(&json!({
            "a": { "name": "eth%d" }, "b": { "name": "c" }, "c": { "name": "b" }, "d": { "name": "eth%d" }, "e": { "name": "eth0" }
        }))
        .unwrap();
        let names: Vec<_> = list.iter().map(|(host, _)| host.as_str()).collect();
        assert_eq!(names, ["b", "c", "e", "a", "d"]);
        assert_eq!(list[3].1, template("eth%d"));
    }

    #[test]
    fn fifteen_bytes_are_a_name_and_a_template_may_stand_anywhere() {
        let list = decide_with(&json!({ "a23456789012345": { "name": "%d" }, "b": { "name": "x%dy" } })).unwrap();
        assert_eq!(list.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(), [template("%d"), template("x%dy")]);
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_place() {
        for (name, text) in [
            ("a234567890123456", "is longer than 15 bytes"),
            ("ööööööööö", "is longer than 15 bytes"),
            (".", "cannot be a network device's name"),
            ("..", "cannot be a network device's name"),
            ("a/b", "must not contain"),
            ("a:1", "must not contain"),
            ("a b", "must not contain"),
            ("a\n", "must not contain"),
            ("\u{b}", "must not contain"),
            ("\u{a0}", "must not contain"),
            ("à", "must not contain"),
            ("a\0", "has a zero byte"),
        ] {
            let error = decide_with(&json!({ name: {} })).unwrap_err();
            assert!(error.contains(text), "key {name:?}: {error}");
            let error = decide_with(&json!({ "eth0": { "name": name } })).unwrap_err();
            assert!(error.contains(text), "name {name:?}: {error}");
        }
        let error = decide_with(&json!({ "": {} })).unwrap_err();
        assert_eq!(error, "config.json: linux.netDevices[\"\"]: is empty; a network device's name has 1 to 15 bytes");
        let error = decide_with(&json!({ "eth0": { "name": "a/b" } })).unwrap_err();
        assert!(error.starts_with("config.json: linux.netDevices[\"eth0\"].name: \"a/b\" must not"), "{error}");
    }

    #[test]
    fn a_template_has_one_number_in_it() {
        for name in ["eth%", "eth%s", "eth%%", "%d%d", "eth%d%", "eth%1d", "%%d", "%D"] {
            let error = decide_with(&json!({ "eth0": { "name": name } })).unwrap_err();
            assert!(error.contains("as \"%d\""), "{name:?}: {error}");
        }
        let error = decide_with(&json!({ "eth%d": {} })).unwrap_err();
        assert!(error.contains("no network device has a"), "{error}");
    }

    #[test]
    fn two_devices_cannot_have_one_name() {
        let error = decide_with(&json!({ "a": { "name": "x" }, "x": {} })).unwrap_err();
        assert_eq!(
            error,
            "config.json: linux.netDevices[\"x\"]: would be \"x\" in the container, as another of linux.netDevices is; choose another \"name\""
        );
    }

    #[test]
    fn the_container_needs_a_namespace_and_the_runtime_its_privileges() {
        let error = decide_on(&json!([]), &json!({ "a": {} }), 0).unwrap_err();
        assert!(error.contains("needs a network namespace of the container's own"), "{error}");
        assert!(decide_on(&json!([]), &json!({}), 0).unwrap().is_empty());
        assert!(decide_on(&json!([{ "type": "network", "path": "/n" }]), &json!({ "a": {} }), 0).is_ok());
        let error = decide_on(&json!([{ "type": "network" }]), &json!({ "a": {} }), 1000).unwrap_err();
        assert!(error.contains("an ordinary user"), "{error}");
        let error = decide_with(&json!({ "lo": {} })).unwrap_err();
        assert!(error.contains("loopback"), "{error}");
    }

    #[test]
    fn a_device_is_an_object() {
        for value in [json!(null), json!("eth0"), json!([]), json!(["eth0"]), json!({ "name": 1 })] {
            assert!(decide_with(&json!({ "a": value })).is_err(), "{value}");
        }
    }
}
