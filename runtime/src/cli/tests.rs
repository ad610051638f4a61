//! Are command lines understood as those of runc are?

use super::*;

fn parse_line(line: &str) -> std::result::Result<Invocation, Refusal> {
    parse(&line.split(' ').filter(|w| !w.is_empty()).map(String::from).collect::<Vec<_>>())
}

#[test]
fn the_definitions_are_consistent() {
    whole().debug_assert();
}

#[test]
fn options_of_exec_end_at_the_container() {
    let Action::Exec(exec) = parse_line("--root /r exec -t --user 1:2 -e A=1 web ls -l --tty").unwrap().action else {
        panic!()
    };
    assert_eq!((exec.id.as_str(), exec.tty, exec.user.as_deref()), ("web", true, Some("1:2")));
    assert_eq!(exec.args, ["ls", "-l", "--tty"]);
}

#[test]
fn long_options_take_one_dash_as_in_go() {
    let invocation = parse_line("-root=/r -log-format json run -no-subreaper -bundle /b -d web").unwrap();
    assert_eq!(invocation.global.root, Some("/r".into()));
    assert_eq!(invocation.global.log_format, "json");
    let Action::Run(create, run) = invocation.action else { panic!() };
    assert!(run.no_subreaper && run.detach);
    assert_eq!(create.bundle, Some("/b".into()));
}

#[test]
fn the_last_of_a_repeated_option_holds() {
    assert_eq!(parse_line("--root=/a --root=/b list").unwrap().global.root, Some("/b".into()));
}

#[test]
fn a_missing_value_says_so_in_the_words_that_engines_look_for() {
    let refusal = parse_line("run web --bundle").unwrap_err();
    assert!(
        !refusal.asked && refusal.text.starts_with("Incorrect Usage. flag needs an argument: "),
        "{}",
        refusal.text
    );
}

#[test]
fn help_is_no_error() {
    for line in
        ["--help", "run --help", "", "-h", "help", "help run", "--debug help", "help --help", "h", "h run", "kill a -h"]
    {
        assert!(parse_line(line).unwrap_err().asked, "{line:?}");
    }
    assert_eq!(parse_line("help run now").unwrap_err().text, parse_line("run --help").unwrap_err().text);
    assert!(!parse_line("help fly").unwrap_err().asked);
}

#[test]
fn help_says_what_each_command_does() {
    let help = parse_line("--help").unwrap_err().text;
    assert!(help.starts_with("An OCI container runtime"), "{help}");
    for (name, about, _) in COMMANDS {
        assert!(help.contains(about), "{name}: {help}");
        let own = parse_line(&format!("{name} --help")).unwrap_err().text;
        assert!(own.starts_with(about), "{own}");
    }
}

#[test]
fn an_unknown_command_is_named() {
    let refusal = parse_line("fly web").unwrap_err();
    assert!(!refusal.asked && refusal.text.contains("fly"), "{}", refusal.text);
}

#[test]
fn a_wrong_word_has_the_nearest_one_and_no_misleading_tip() {
    for (line, hint) in [
        ("run --bundel /b web", "there is no option --bundel; did you mean --bundle?"),
        ("--rot /r list", "there is no option --rot; did you mean --root?"),
        ("kill -9 web", "there is no option -9; the signal follows the container: cleat kill ID 9"),
        ("exec -it web sh", "there is no option -i; leave it out: standard input"),
        ("run --rm web", "there is no option --rm; leave it out: run removes"),
        ("run -it web", "process.terminal in config.json"),
        ("run -p 80:80 web", "there is no option -p; cleat makes a network namespace"),
        ("run web sleep 1", "there is no place for sleep; the program is process.args"),
        ("run --nonsense web", "there is no option --nonsense\n"),
        ("ps", "cleat list lists the containers"),
        ("runn web", "\"runn\" is no command; did you mean \"run\"?"),
        ("ls", "\"ls\" is no command; the containers are listed by \"list\""),
        ("images", "knows no images"),
    ] {
        let refusal = parse_line(line).unwrap_err();
        assert!(!refusal.asked && refusal.text.contains(hint), "{line}: {}", refusal.text);
        assert!(refusal.text.starts_with("Incorrect Usage. ") && !refusal.text.contains("tip:"), "{}", refusal.text);
    }
}

#[test]
fn a_bundle_may_be_an_option_everywhere() {
    for line in ["check -b /b", "check --bundle /b", "check /b"] {
        let Action::Check(check) = parse_line(line).unwrap().action else { panic!() };
        assert_eq!(check.bundle(), Some(Path::new("/b")), "{line}");
    }
    for line in ["plan -b /b", "plan --bundle=/b", "plan /b"] {
        let Action::Plan(plan) = parse_line(line).unwrap().action else { panic!() };
        assert_eq!(plan.bundle(), Path::new("/b"), "{line}");
    }
    let Action::Plan(plan) = parse_line("plan").unwrap().action else { panic!() };
    assert_eq!(plan.bundle(), Path::new("."));
    assert!(matches!(parse_line("version").unwrap().action, Action::Version));
}

#[test]
fn a_signal_may_follow_the_id() {
    let Action::Kill(kill) = parse_line("kill --all web 9").unwrap().action else { panic!() };
    assert_eq!((kill.id.as_str(), kill.signal.as_str(), kill.all), ("web", "9", true));
}

#[test]
fn options_may_follow_the_id_elsewhere() {
    let Action::Delete(delete) = parse_line("delete web --force").unwrap().action else { panic!() };
    assert!(delete.force);
}
