//! How is config.json read and parsed, and which property is an error about?

use std::path::Path;

use serde::Deserialize;

use super::Object;
use crate::error::{Context, Error, Result};

/// Longest config.json that is read.
const MAX_LEN: u64 = 16 << 20;

/// Reads `config.json` of a bundle.
///
/// # Errors
/// It cannot be opened, or is longer than 16 MiB.
pub fn read(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join("config.json");
    // A fifo, which would have to be waited for, is no bundle's.
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::new(format!("{}: not a regular file", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => read_json(&path).map_err(|error| {
            error.remedy(
                "a bundle is a directory with config.json and a root file system: -b DIR names it, and cleat spec \
                 writes a config.json",
            )
        }),
        _ => read_json(&path),
    }
}

/// Reads the file that is to be in the place of a bundle's `config.json`, if there is one.
///
/// # Errors
/// It cannot be opened, or is longer than 16 MiB.
pub fn read_from(bundle: &Path, file: Option<&Path>) -> Result<Vec<u8>> {
    file.map_or_else(|| read(bundle), read_json)
}

/// Reads a JSON file of reasonable length.
///
/// # Errors
/// It cannot be opened, or is longer than 16 MiB.
pub fn read_json(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path).context(format_args!("open {}", path.display()))?;
    let mut text = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut text).context(format_args!("read {}", path.display()))?;
    if text.len() as u64 > MAX_LEN {
        return Err(Error::new(format!("{}: longer than 16 MiB", path.display())));
    }
    Ok(text)
}

/// Parses JSON; an error names the property, line and column.
///
/// # Errors
/// Not JSON, or a property of another type than the specification gives it. `file` is its name.
pub fn parse<'a, T: Deserialize<'a>>(file: &str, text: &'a [u8]) -> Result<T> {
    serde_json::from_slice::<Object<T>>(text).map(|object| object.0).map_err(|error| {
        if error.is_eof() {
            let (line, column) = (error.line(), error.column());
            return Error::new(format!("{file} ends too early, at line {line} column {column}"))
                .remedy("was it written whole?");
        }
        let place = if error.is_data() { property_at(text, error.line(), error.column()) } else { String::new() };
        Error::new(error.to_string()).in_file(file, &place)
    })
}

/// Calls `each` for every property of a well-formed JSON text: with the object that it is in, such as `process` or
/// `mounts[1]`, and its name.
pub fn each_property(text: &[u8], mut each: impl FnMut(&str, &str)) {
    let mut walk = Walk::default();
    for byte in text {
        if walk.step(*byte) {
            if let Some((At::Key(name), above)) = walk.stack.split_last() {
                each(&path_of(above), name);
            }
        }
    }
}

/// The property that is being read at a place of a JSON text that is well-formed up to there, such as
/// `process.args[1]`. (A library that keeps the path while it parses doubles the size of every parser. That is too
/// much for the one document in thousands that is wrong.)
fn property_at(text: &[u8], line: usize, column: usize) -> String {
    let line_start = text.split_inclusive(|b| *b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>();
    // The column is that of the last byte that was read.
    let end = (line_start + column).min(text.len());
    let mut walk = Walk::default();
    for byte in &text[..end] {
        let _ = walk.step(*byte);
    }
    path_of(&walk.stack)
}

enum At {
    Key(String),
    Index(usize),
}

/// Where one is in a JSON text.
#[derive(Default)]
struct Walk {
    stack: Vec<At>,
    /// The string that was begun, or that was last.
    string: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// A string here is the name of a property.
    is_key: bool,
}

impl Walk {
    /// Takes the next byte. True: it ends the name of a property, which is the last of the stack.
    fn step(&mut self, byte: u8) -> bool {
        match (self.in_string, byte) {
            (true, _) if std::mem::take(&mut self.escaped) => self.string.push(byte),
            (true, b'"') => {
                self.in_string = false;
                // Already here: one that is there twice is where the error is.
                if let (Some(At::Key(key)), true) = (self.stack.last_mut(), self.is_key) {
                    *key = String::from_utf8_lossy(&self.string).into_owned();
                }
            }
            (true, _) => {
                self.escaped = byte == b'\\';
                self.string.push(byte);
            }
            (false, b'"') => {
                self.string.clear();
                self.in_string = true;
            }
            (false, b'{') => {
                self.stack.push(At::Key(String::new()));
                self.is_key = true;
            }
            (false, b'[') => self.stack.push(At::Index(0)),
            (false, b'}' | b']') => drop(self.stack.pop()),
            (false, b':') => {
                self.is_key = false;
                return matches!(self.stack.last(), Some(At::Key(_)));
            }
            (false, b',') => match self.stack.last_mut() {
                Some(At::Index(index)) => *index += 1,
                Some(At::Key(_)) => self.is_key = true,
                None => {}
            },
            (false, _) => {}
        }
        false
    }
}

fn path_of(stack: &[At]) -> String {
    let mut path = String::new();
    for step in stack {
        match step {
            At::Key(key) if path.is_empty() => path.push_str(key),
            At::Key(key) => path.extend([".", key]),
            At::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;

    #[test]
    fn a_null_is_a_property_that_is_not_there() {
        let spec: Spec =
            parse("config.json", br#"{"ociVersion":"1.0.2","mounts":null,"process":{"args":null,"rlimits":null}}"#)
                .unwrap();
        assert!(spec.mounts.is_empty());
    }

    #[test]
    fn a_null_annotation_is_empty() {
        let spec: Spec = parse("config.json", br#"{"annotations":{"a":null,"b":"c"}}"#).unwrap();
        assert_eq!(spec.annotations["a"], "");
        assert_eq!(spec.annotations["b"], "c");
    }

    /// The property that is there twice, wherever the first one is.
    #[test]
    fn an_error_of_a_property_that_is_there_twice_names_it() {
        for (text, place) in [
            (&br#"{"hostname":"a","root":{"path":"x"},"hostname":"b"}"#[..], "hostname"),
            (br#"{"root":{"path":"x","readonly":true,"path":"y"}}"#, "root.path"),
            (br#"{"mounts":[{"source":"a"},{"source":"b","type":"c","source":"d"}]}"#, "mounts[1].source"),
        ] {
            let error = parse::<Spec>("config.json", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("config.json: {place}: duplicate field")), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_property() {
        let error = parse::<Spec>("config.json", br#"{"process":{"args":["a", 7]}}"#).unwrap_err().to_string();
        assert!(error.starts_with("config.json: process.args[1]: invalid type: integer `7`"), "{error}");
    }

    #[test]
    fn the_place_of_an_error_is_found_over_lines_and_strings() {
        let text =
            b"{\n \"a]\\\"}\": {\"x\": 1},\n \"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\":\n {}}]}}";
        let error = parse::<Spec>("config.json", text).unwrap_err().to_string();
        assert!(error.starts_with("config.json: linux.namespaces[1].type: invalid type: map"), "{error}");
        let error =
            parse::<Spec>("config.json", br#"{"mounts":[{"destination":"/a"},{"destination":"/b","options":"ro"}]}"#)
                .unwrap_err()
                .to_string();
        assert!(error.starts_with("config.json: mounts[1].options: invalid type: string"), "{error}");
    }

    #[test]
    fn an_array_is_no_object() {
        for (text, place) in [
            ("[]", "config.json: invalid type: sequence, expected an object"),
            (r#"{"root":["rootfs"]}"#, "config.json: root: invalid type: sequence, expected an object"),
            (r#"{"mounts":[{"destination":"/a"},["/b"]]}"#, "config.json: mounts[1]: invalid type: sequence"),
        ] {
            let error = parse::<Spec>("config.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(place), "{error}");
        }
    }

    #[test]
    fn a_truncated_file_is_reported_as_such() {
        let error = parse::<Spec>("config.json", br#"{"process":{"args":["a""#).unwrap_err().to_string();
        assert!(error.contains("ends too early"), "{error}");
    }

    #[test]
    fn unknown_properties_are_ignored() {
        let spec: Spec =
            parse("config.json", br#"{"ociVersion":"1.3.0","somethingNew":{"a":1},"linux":{"later":true}}"#).unwrap();
        assert_eq!(spec.oci_version, "1.3.0");
    }
}
