//! What is one input, and how is it written? `docs/testing.md` tells the form for those who add one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::merge;
use crate::{engines, folder, pairs};

/// One input: a bundle and the commands that are run on it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without its ending; of a file that stands for several, and the values: `file/a=x,b=y`.
    pub name: String,
    /// What it is about: the comment at the top.
    pub about: String,
    /// The whole `config.json`.
    pub config: String,
    /// What the fragments say; the shorter, the better to read.
    pub fragment: String,
    /// Shell, run before the commands, in the bundle's directory.
    pub setup: String,
    /// One line of shell each.
    pub commands: Vec<String>,
    /// More files, by their name.
    pub files: Vec<(String, String)>,
    /// Controllers of cgroup v2 without which it says nothing.
    pub controllers: Vec<String>,
    /// Patterns of facts that are not compared.
    pub ignored: Vec<String>,
    /// Facts that are right whatever runc does.
    pub expected: Vec<(String, String)>,
}

/// All cases: those of the folder `cases`, and the engines' configurations.
///
/// # Errors
/// A file cannot be read, or is none; says which and where.
pub fn all() -> Result<Vec<Case>, String> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder().join("cases")];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).map_err(|error| format!("{}: {error}", at.display()))?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "case") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut cases = engines::cases()?;
    for path in files {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let below = path.strip_prefix(folder().join("cases")).unwrap_or(&path).with_extension("");
        cases.extend(
            parse(&below.to_string_lossy(), &text, &base()?).map_err(|error| format!("{}: {error}", path.display()))?,
        );
    }
    Ok(cases)
}

/// What `runc spec` writes, without a terminal, with `/probe facts` as the program.
pub(crate) fn base() -> Result<Value, String> {
    json_of(&folder().join("base.json"))
}

pub(crate) fn json_of(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A section: its words, and its lines.
struct Section<'a> {
    words: Vec<&'a str>,
    text: String,
}

/// One value of an `[each …]` or a `[pairs …]` section.
#[derive(Clone, Debug)]
struct Choice {
    name: String,
    text: String,
}

fn sections(text: &str) -> (String, Vec<Section<'_>>) {
    let (mut about, mut sections) = (String::new(), Vec::<Section<'_>>::new());
    for line in text.lines() {
        let words = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::trim);
        let known = |words: &&str| {
            let first = words.split(' ').next().unwrap_or_default();
            ["config", "setup", "commands", "file", "needs", "ignore", "expect", "each", "pairs", "never", "raw"]
                .contains(&first)
        };
        if let Some(words) = words.filter(known) {
            sections.push(Section { words: words.split_whitespace().collect(), text: String::new() });
        } else if let Some(section) = sections.last_mut() {
            section.text += line;
            section.text.push('\n');
        } else if let Some(comment) = line.strip_prefix('#') {
            about += comment.trim();
            about.push('\n');
        }
    }
    (about, sections)
}

/// Lines that are neither empty nor a comment.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

/// `NAME: TEXT`, a `NAME:` without text, or a TEXT that is its own name.
fn choices(text: &str) -> Vec<Choice> {
    let choice = |line: &str| {
        let (name, text) = match line.split_once(": ") {
            Some((name, text)) => (name, text),
            None => line.strip_suffix(':').map_or((line, line), |name| (name, "")),
        };
        Choice { name: name.to_owned(), text: text.to_owned() }
    };
    lines(text).map(choice).collect()
}

/// What is not written down is a run in the foreground.
const COMMANDS: &str = "runtime run c";

fn parse(name: &str, text: &str, base: &Value) -> Result<Vec<Case>, String> {
    let (about, sections) = sections(text);
    let mut plain = Plain { name: name.to_owned(), about, ..Plain::default() };
    let (mut each, mut paired, mut never) = (Vec::new(), Vec::new(), Vec::new());
    for section in &sections {
        let text = section.text.clone();
        match section.words.as_slice() {
            ["config"] => plain.config = text,
            ["raw"] => plain.raw = Some(text),
            ["setup"] => plain.setup = text,
            ["commands"] => plain.commands = text,
            ["file", file] => plain.files.push(((*file).to_owned(), text)),
            ["needs"] => plain.needs = lines(&text).map(str::to_owned).collect(),
            ["ignore"] => plain.ignored = lines(&text).map(str::to_owned).collect(),
            ["expect"] => plain.expected = lines(&text).filter_map(|line| line.split_once(" = ")).map(owned).collect(),
            ["each", property] => each.push(((*property).to_owned(), choices(&text))),
            ["pairs", property] => paired.push(((*property).to_owned(), choices(&text))),
            ["never"] => never = lines(&text).filter_map(|line| line.split_once(' ')).map(owned).collect(),
            words => return Err(format!("[{}] is not a section", words.join(" "))),
        }
    }
    let of = |properties: &[(String, Vec<Choice>)]| properties.iter().map(|(_, c)| c.len()).collect::<Vec<_>>();
    let label = |at: (usize, usize)| {
        paired.get(at.0).and_then(|(p, c)| Some(format!("{p}={}", c.get(at.1)?.name))).unwrap_or_default()
    };
    let is_never =
        |a, b| never.iter().any(|(x, y)| (*x == label(a) && *y == label(b)) || (*x == label(b) && *y == label(a)));
    let rows = if paired.is_empty() { vec![Vec::new()] } else { pairs::rows(&of(&paired), &is_never) };
    let mut cases = Vec::new();
    for fixed in pairs::product(&of(&each)) {
        for row in &rows {
            let values = each.iter().zip(&fixed).chain(paired.iter().zip(row));
            let chosen: Vec<(String, Choice)> = values
                .filter_map(|((property, choices), at)| Some((property.clone(), choices.get(*at)?.clone())))
                .collect();
            cases.push(plain.with(&chosen, base)?);
        }
    }
    Ok(cases)
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.trim().to_owned(), b.trim().to_owned())
}

/// A file's text before the values of its properties are put in.
#[derive(Default)]
struct Plain {
    name: String,
    about: String,
    config: String,
    raw: Option<String>,
    setup: String,
    commands: String,
    files: Vec<(String, String)>,
    needs: Vec<String>,
    ignored: Vec<String>,
    expected: Vec<(String, String)>,
}

impl Plain {
    /// A value that is an object is a fragment of its own; one that is not is text for `{PROPERTY}`.
    fn with(&self, chosen: &[(String, Choice)], base: &Value) -> Result<Case, String> {
        let fill = |text: &str| {
            chosen.iter().fold(text.to_owned(), |text, (property, choice)| {
                let put = if choice.text.starts_with('{') { "" } else { &choice.text };
                text.replace(&format!("{{{property}}}"), put)
            })
        };
        let name = if chosen.is_empty() {
            self.name.clone()
        } else {
            let values = chosen.iter().map(|(property, choice)| format!("{property}={}", choice.name));
            format!("{}/{}", self.name, values.collect::<Vec<_>>().join(","))
        };
        let mut config = base.clone();
        let mut fragment = String::new();
        let own = Some(fill(&self.config)).filter(|text| !text.trim().is_empty());
        let others = chosen.iter().map(|(_, choice)| choice.text.clone()).filter(|text| text.starts_with('{'));
        for text in own.into_iter().chain(others) {
            let patch = serde_json::from_str(&text).map_err(|error| format!("{name}: [config]: {error} in {text}"))?;
            merge(&mut config, &patch);
            fragment += text.trim();
            fragment.push('\n');
        }
        let commands = if self.commands.trim().is_empty() { COMMANDS } else { &self.commands };
        Ok(Case {
            name,
            about: self.about.clone(),
            config: self.raw.clone().unwrap_or_else(|| format!("{config:#}")),
            fragment,
            setup: fill(&self.setup),
            commands: lines(&fill(commands)).map(str::to_owned).collect(),
            files: self.files.iter().map(|(file, text)| (file.clone(), fill(text))).collect(),
            controllers: self.needs.clone(),
            ignored: self.ignored.clone(),
            expected: self.expected.iter().map(|(fact, value)| (fact.clone(), fill(value))).collect(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by saying what it expected")]
mod tests {
    use super::{all, parse};
    use serde_json::json;

    #[test]
    fn a_file_may_stand_for_several_cases() {
        let text =
            "# why\n[each o]\nasync\nsync\n[config]\n{\"a\": [\"{o}\"]}\n[commands]\nruntime run c\n# no command\n";
        let cases = parse("x", text, &json!({})).expect("cases");
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].name.as_str(), cases[0].about.as_str()), ("x/o=async", "why\n"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&cases[1].config).expect("JSON"),
            json!({ "a": ["sync"] })
        );
        assert_eq!(cases[0].commands, ["runtime run c"]);
    }

    #[test]
    fn there_are_at_least_500_cases_with_names_of_their_own() {
        let cases = all().expect("cases");
        let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert!(cases.len() >= 500, "only {} cases", cases.len());
        assert_eq!(names.len(), cases.len());
    }
}
