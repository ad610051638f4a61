//! `kubectl attach` and `kubectl exec -it`: clients that come and go.

use integration::cri::messages::ContainerState;

use super::{Node, RELEASE, log_is, logs};

/// Waits until the terminal has the size that the test gives it; busybox' stty complains of one that has none yet.
const WAIT_FOR_SIZE: &str = "while [ \"$(stty size 2>/dev/null)\" != '43 101' ]; do sleep 0.1; done; echo resized";

/// What is typed arrives, what is written comes back; and when the client goes, the next one types into the same
/// open stream.
#[test]
fn standard_input_outlives_the_client() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let mut config = pod.config_of("main", &["sh", "-c", "echo up; cat; echo the end"]);
    config.stdin = true;
    let container = pod.start(config);
    logs(&container, "up\n");
    let mut first = container.attach(false);
    first.types("one\n");
    first.sees("one\n");
    first.detach();
    let mut second = container.attach(false);
    second.types("two\n");
    second.sees("two\n");
    // Two at a time: both see it.
    let mut third = container.attach(false);
    third.types("three\n");
    third.sees("three\n");
    second.sees("three\n");
    second.detach();
    third.detach();
    log_is(&container, "up\none\ntwo\nthree\n");
    assert_eq!(container.status().state, i32::from(ContainerState::Running));
    pod.remove();
    node.nothing_is_left();
}

/// With `stdin_once` the first client's end is the end of standard input.
#[test]
fn standard_input_ends_with_the_first_client_if_asked_for() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let mut config = pod.config_of("main", &["sh", "-c", "echo up; cat; echo the end; exit 3"]);
    (config.stdin, config.stdin_once) = (true, true);
    let container = pod.start(config);
    logs(&container, "up\n");
    let mut client = container.attach(false);
    client.types("last words\n");
    client.sees("last words\n");
    assert_eq!(container.status().state, i32::from(ContainerState::Running));
    client.detach();
    assert_eq!(container.ended().exit_code, 3);
    log_is(&container, "up\nlast words\nthe end\n");
    pod.remove();
    node.nothing_is_left();
}

/// A terminal has the size of its client's window, and the client of a container learns of its exit.
#[test]
fn a_terminal_can_be_attached_to_and_resized() {
    let node = node!();
    let pod = node.plain_pod("pod");
    // containerd 1.6.20 closes the streams as soon as it hears of the end.
    let last = if node.is_2() { "" } else { "sleep 2; " };
    let script = format!("echo up; {WAIT_FOR_SIZE}; read word; echo got $word; {last}exit 4");
    let mut config = pod.config_of("main", &["sh", "-c", &script]);
    (config.stdin, config.tty) = (true, true);
    let container = pod.start(config);
    logs(&container, "up");
    let mut client = container.attach(true);
    client.resize(101, 43);
    client.sees("resized\n");
    client.types("words\n");
    // What is typed is echoed.
    client.sees("words\ngot words\n");
    assert_eq!(container.ended().exit_code, 4);
    let [_, stderr, _] = client.ended();
    assert_eq!(stderr, "");
    log_is(&container, "up\nresized\nwords\ngot words\n");
    pod.remove();
    node.nothing_is_left();
}

/// A further process has a terminal of its own, which takes what is typed and a size; or else two streams. Its exit
/// code is reported.
#[test]
fn a_further_process_streams() {
    let node = node!();
    let pod = node.plain_pod("pod");
    let container = pod.run("main", "exec sleep 1000");
    let script =
        format!("test -t 0 && test -t 2 && echo a terminal; {WAIT_FOR_SIZE}; read word; echo got $word; exit 7");
    let mut client = container.exec_streaming(&script, true);
    client.sees("a terminal\n");
    client.resize(101, 43);
    client.sees("resized\n");
    client.types("words\n");
    let [stdout, stderr, status] = client.ended();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("a terminal\nresized\nwords\ngot words\n", ""));
    assert!(status.contains(r#"{"reason":"ExitCode","message":"7"}"#), "{status}");

    let mut client = container.exec_streaming("test -t 0 || read word; echo got $word; echo complaint >&2", false);
    client.types("words\n");
    let [stdout, stderr, status] = client.ended();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("got words\n", "complaint\n"));
    assert!(status.contains(r#""status":"Success""#), "{status}");

    // The client goes, and with it the input of what it started.
    let mut client = container.exec_streaming("while read word; do echo got $word; done; echo end > /tmp/end", false);
    client.types("words\n");
    client.sees("got words\n");
    client.detach();
    integration::eventually("the end of its input", || match container.exec("cat /tmp/end") {
        said if said.out == "end\n" => Ok(()),
        said => Err(format!("{said:?}")),
    });
    pod.remove();
    node.nothing_is_left();
}
