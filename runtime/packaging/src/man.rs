//! What do the manual pages say? The options are the command line's own; what else a page has is in
//! `pages.rs`.

use clap::{Arg, Command};
use clap_mangen::Man;

use crate::date::Date;
use crate::pages::{self, Page, Section};
use anyhow::{Context, Result, bail};

/// All pages as paths and texts.
///
/// # Errors
/// A command has no page, or a page no command.
pub(crate) fn all(date: &Date) -> Result<Vec<(String, String)>> {
    let mut whole = cleat::cli::whole();
    whole.build();
    let mut found = Vec::new();
    let mut rest: Vec<Page> = pages::commands();
    for command in whole.get_subcommands() {
        let name = command.get_name();
        let at = rest.iter().position(|page| page.name == format!("cleat-{name}"));
        let page = rest.swap_remove(at.with_context(|| format!("pages.rs has no page for the command {name}"))?);
        found.push(render(&page, "8", Some(command), date)?);
    }
    if let Some(page) = rest.first() {
        bail!("pages.rs has the page {}, but there is no such command", page.name);
    }
    found.push(render(&pages::cleat(&whole), "8", Some(&whole), date)?);
    found.push(render(&pages::shim(), "8", None, date)?);
    found.push(render(&pages::configuration(), "5", None, date)?);
    Ok(found)
}

fn render(page: &Page, section: &str, command: Option<&Command>, date: &Date) -> Result<(String, String)> {
    let version = env!("CARGO_PKG_VERSION");
    let about = match command {
        Some(command) if page.about.is_empty() => {
            lower_first(&command.get_about().map(ToString::to_string).unwrap_or_default())
        }
        _ => page.about.clone(),
    };
    let mut out = format!(
        ".\\\" Generated from the definition of the command line; do not edit.\n\
         .TH {} {section} {} \"cleat {version}\" \"{}\"\n",
        escape(&page.name.to_uppercase()),
        date.day,
        if section == "5" { "File formats" } else { "System administration" }
    );
    out += &format!(".SH NAME\n{} \\- {}\n", escape(&page.name), escape(&about));
    out += &format!(".SH SYNOPSIS\n{}", synopsis(page, command));
    out += ".SH DESCRIPTION\n";
    out += &paragraphs(&page.description);
    if let Some(command) = command {
        out += &options(command)?;
    }
    for Section { title, lines } in &page.sections {
        out += &format!(".SH {title}\n{}", paragraphs(lines));
    }
    if !page.examples.is_empty() {
        out += ".SH EXAMPLES\n";
        for (what, lines) in &page.examples {
            out += &format!(".PP\n{}\n.PP\n.RS 4\n.EX\n", inline(what));
            for line in lines.lines() {
                out += &format!("{}\n", escape(line));
            }
            out += ".EE\n.RE\n";
        }
    }
    let also: Vec<String> = page.also.iter().map(|name| reference(name)).collect();
    out += &format!(".SH SEE ALSO\n{}\n", also.join(",\n"));
    Ok((format!("man/man{section}/{}.{section}", page.name), out))
}

/// How it is called: its positional arguments as they are defined.
fn synopsis(page: &Page, command: Option<&Command>) -> String {
    let Some(command) = command else {
        return page.synopsis.iter().map(|line| inline(line)).collect::<Vec<_>>().join("\n.br\n") + "\n";
    };
    if command.has_subcommands() {
        return "\\fBcleat\\fR [\\fIGLOBAL OPTIONS\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]\n".into();
    }
    let mut out = format!("\\fBcleat\\fR [\\fIGLOBAL OPTIONS\\fR] \\fB{}\\fR [\\fIOPTIONS\\fR]", command.get_name());
    for arg in command.get_positionals().filter(|arg| !arg.is_hide_set()) {
        let name = format!("\\fI{}\\fR", escape(&value_name(arg)));
        let many = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
        out += &if arg.is_required_set() { format!(" {name}{many}") } else { format!(" [{name}{many}]") };
    }
    out + "\n"
}

fn value_name(arg: &Arg) -> String {
    arg.get_value_names().map_or_else(|| arg.get_id().to_string(), |names| names.join(" "))
}

/// The options and arguments, by clap_mangen.
fn options(command: &Command) -> Result<String> {
    let mut bytes = Vec::new();
    Man::new(command.clone()).render_options_section(&mut bytes)?;
    let text = String::from_utf8(bytes)?;
    // What sets up apostrophes belongs to the head of a page, and is not needed here.
    let lines = text.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    Ok(lines.fold(String::new(), |out, line| out + line + "\n").replace("\\*(Aq", "\\(aq"))
}

/// Paragraphs; one that begins with `| ` is an item, `| WORDS | TEXT`; one with `$ ` is literal.
fn paragraphs(texts: &[String]) -> String {
    let mut out = String::new();
    for text in texts {
        if let Some((term, body)) = text.strip_prefix("| ").and_then(|item| item.split_once(" | ")) {
            out += &format!(".TP\n{}\n{}\n", inline(term), inline(body));
        } else if let Some(literal) = text.strip_prefix("$ ") {
            out +=
                &format!(".PP\n.RS 4\n.EX\n{}\n.EE\n.RE\n", literal.lines().map(escape).collect::<Vec<_>>().join("\n"));
        } else {
            out += &format!(".PP\n{}\n", inline(text));
        }
    }
    // No paragraph begins right below a heading.
    out.strip_prefix(".PP\n").filter(|rest| !rest.starts_with('.')).map(str::to_owned).unwrap_or(out)
}

/// Words `between backticks` are bold, *between stars* italic.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (at, piece) in text.split('`').enumerate() {
        if at % 2 == 1 {
            out += &format!("\\fB{}\\fR", escape_words(piece));
            continue;
        }
        for (at, piece) in piece.split('*').enumerate() {
            let piece = escape_words(piece);
            out += &if at % 2 == 1 { format!("\\fI{piece}\\fR") } else { piece };
        }
    }
    guard(&out)
}

/// `name(8)` with its name in bold.
fn reference(name: &str) -> String {
    match name.split_once('(') {
        Some((page, rest)) => format!("\\fB{}\\fR({}", escape(page), escape(rest)),
        None => escape(name),
    }
}

fn escape(text: &str) -> String {
    guard(&escape_words(text))
}

fn escape_words(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti").replace('^', "\\(ha")
}

/// A line must not begin as a request does.
fn guard(line: &str) -> String {
    if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date() -> Date {
        Date { day: "2026-01-02".into(), moment: "2026-01-02T00:00:00Z".into() }
    }

    fn page(name: &str) -> String {
        let found = all(&date()).unwrap().into_iter().find(|(path, _)| path.ends_with(&format!("/{name}")));
        found.unwrap_or_else(|| panic!("no page {name}")).1
    }

    #[test]
    fn every_command_has_a_page_with_its_options_and_an_example() {
        for command in cleat::cli::whole().get_subcommands() {
            let text = page(&format!("cleat-{}.8", command.get_name()));
            for option in command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long) {
                assert!(text.contains(&escape_words(&format!("--{option}"))), "{option}: {text}");
            }
            assert!(text.contains("\n.SH EXAMPLES\n"), "{text}");
        }
    }

    #[test]
    fn what_is_installed_is_taken_away_again() {
        let script = include_str!("../install").split("uninstall)").nth(1).unwrap();
        for command in cleat::cli::whole().get_subcommands() {
            assert!(script.contains(&format!(" cleat-{} ", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn the_page_of_cleat_lists_every_command() {
        let text = page("cleat.8");
        for command in cleat::cli::whole().get_subcommands() {
            assert!(text.contains(&format!("\\fBcleat\\-{}\\fR(8)", command.get_name())), "{text}");
        }
    }

    #[test]
    fn every_annotation_that_is_allowed_is_in_section_5() {
        let text = page("cleat.5");
        for name in cleat::plan::systemd::annotation_names() {
            assert!(text.contains(&name), "{name}");
        }
        assert!(text.contains(cleat::plan::ids::KEEP_GROUPS));
    }

    #[test]
    fn every_option_of_the_shim_is_in_section_5() {
        let source = include_str!("../../../shim/src/options.rs");
        let table = source.split("struct Table {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
        let text = page("cleat.5");
        let mut count = 0;
        let lines = table.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let fields = lines.filter_map(|line| line.split_once(": ")).map(|(name, _)| name);
        // Those with an underscore are read and have no effect.
        for field in fields.filter(|field| !field.starts_with('_')) {
            let name: String = field.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            count += 1;
            assert!(text.contains(&format!("\\fB{name}\\fR")), "{name}");
        }
        assert!(count > 5);
    }

    #[test]
    fn what_roff_would_take_for_itself_is_escaped() {
        assert_eq!(inline("see `--all`, not *a.b*"), "see \\fB\\-\\-all\\fR, not \\fIa.b\\fR");
        assert_eq!(inline(".hidden 'x'"), "\\&.hidden \\(aqx\\(aq");
        assert_eq!(paragraphs(&["one".into(), "| a | b".into()]), "one\n.TP\na\nb\n");
    }
}
