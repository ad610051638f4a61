//! What does a request ask for? Each is decoded and checked once, here, so that what is wrong in it is refused at
//! once (`InvalidArgument`), and nothing has been done.

use std::path::{Path, PathBuf};

use prost::Message;

use crate::messages::{self, CheckpointRequest, CreateRequest, ExecRequest, ProcessRequest, Request, TaskRequest};
use crate::stdio::{Target, target};
use crate::task::{Call, CheckpointSpec, CreateSpec, ExecSpec, Kill, ProcessId, Stdio, Stream, Verb};
use crate::ttrpc::{Code, Failure};
use crate::{args, options};

#[allow(clippy::needless_pass_by_value, reason = "map_err passes errors by value")]
fn invalid(text: impl ToString) -> Failure {
    Failure::new(Code::InvalidArgument, text.to_string())
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, Failure> {
    M::decode(payload).map_err(|error| invalid(format!("not a message: {error}")))
}

/// Decodes a request.
///
/// # Errors
/// `InvalidArgument`: not a message, or one with wrong content. `Unimplemented`: another service, or an unknown method.
pub fn parse(data: &[u8]) -> Result<Call, Failure> {
    let request: Request = decode(data)?;
    if !matches!(&*request.service, "containerd.task.v2.Task" | "containerd.task.v3.Task") {
        let text = format!("service {}: not served here", request.service);
        return Err(Failure::new(Code::Unimplemented, text));
    }
    let payload = &*request.payload;
    let process = |verb: Verb| -> Result<Call, Failure> {
        let request: ProcessRequest = decode(payload)?;
        Ok(verb.of(ProcessId { container: request.id, exec: request.exec_id }))
    };
    let task =
        |verb: Verb| -> Result<Call, Failure> { Ok(verb.of(ProcessId::init(&decode::<TaskRequest>(payload)?.id))) };
    match &*request.method {
        "Create" => create(decode(payload)?),
        "Start" => process(Verb::Start),
        "State" => process(Verb::State),
        "Delete" => process(Verb::Delete),
        "Exec" => exec(decode(payload)?),
        "ResizePty" => {
            let request: messages::ResizePtyRequest = decode(payload)?;
            let cells = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
            process(Verb::ResizePty { width: cells(request.width), height: cells(request.height) })
        }
        "CloseIO" => {
            let request: messages::CloseIoRequest = decode(payload)?;
            process(Verb::CloseIo { stdin: request.stdin })
        }
        "Kill" => {
            let request: messages::KillRequest = decode(payload)?;
            process(Verb::Kill(Kill { signal: request.signal, all: request.all }))
        }
        "Wait" => process(Verb::Wait),
        "Pids" => task(Verb::Pids),
        "Pause" => task(Verb::Pause),
        "Resume" => task(Verb::Resume),
        "Update" => {
            let request: messages::UpdateRequest = decode(payload)?;
            let resources = request.resources.ok_or_else(|| invalid("update: no resources given"))?;
            Ok(Verb::Update(resources.value).of(ProcessId::init(&request.id)))
        }
        "Stats" => task(Verb::Stats),
        "Connect" => task(Verb::Connect),
        "Checkpoint" => checkpoint(&decode(payload)?),
        "Shutdown" => task(Verb::Shutdown),
        other => Err(Failure::new(Code::Unimplemented, format!("method {other}: there is none"))),
    }
}

fn create(request: CreateRequest) -> Result<Call, Failure> {
    args::check_name("container id", &request.id).map_err(invalid)?;
    if !Path::new(&request.bundle).is_absolute() {
        return Err(invalid(format!("bundle {:?}: must be absolute", request.bundle)));
    }
    let options = match &request.options {
        Some(any) => match options::read(any).map_err(invalid)? {
            None if !any.value.is_empty() => {
                let text = format!("options: unknown type {}; use containerd.runc.v1.Options", any.type_url);
                return Err(invalid(text));
            }
            read => read.unwrap_or_default(),
        },
        None => messages::Options::default(),
    };
    // The request alone names the streams, and so the programs that are executed for them (CVE-2026-53488).
    let stdio = stdio(request.stdin, request.stdout, request.stderr, request.terminal)?;
    let checkpoint = first_path("checkpoint", &request.checkpoint, &options.criu_image_path)?;
    first_path("options: criu_work_path", &options.criu_work_path, "")?;
    let spec = CreateSpec { bundle: request.bundle.into(), rootfs: request.rootfs, stdio, options, checkpoint };
    Ok(Verb::Create(Box::new(spec)).of(ProcessId::init(&request.id)))
}

fn checkpoint(request: &CheckpointRequest) -> Result<Call, Failure> {
    let options = request.options.as_ref().map_or_else(
        || Ok(messages::CheckpointOptions::default()),
        |any| options::read_checkpoint(any).map_err(invalid),
    )?;
    let images = first_path("checkpoint", &options.image_path, &request.path)?;
    let images = images.ok_or_else(|| invalid("checkpoint: no path given"))?;
    first_path("options: work_path", &options.work_path, "")?;
    Ok(Verb::Checkpoint(Box::new(CheckpointSpec { images, options })).of(ProcessId::init(&request.id)))
}

/// The first one that is given; the shim's directory is nobody's concern.
fn first_path(what: &str, first: &str, second: &str) -> Result<Option<PathBuf>, Failure> {
    let given = if first.is_empty() { second } else { first };
    match given {
        "" => Ok(None),
        path if path.starts_with('/') => Ok(Some(path.into())),
        path => Err(invalid(format!("{what} {path:?}: must be absolute"))),
    }
}

fn exec(request: ExecRequest) -> Result<Call, Failure> {
    args::check_name("exec id", &request.exec_id).map_err(invalid)?;
    let process = request.spec.ok_or_else(|| invalid("exec: no process given"))?.value;
    let process = with_terminal(process, request.terminal).map_err(invalid)?;
    let stdio = stdio(request.stdin, request.stdout, request.stderr, request.terminal)?;
    let who = ProcessId { container: request.id, exec: request.exec_id };
    Ok(Verb::Exec(Box::new(ExecSpec { process, stdio })).of(who))
}

/// The process with the terminal that the request asks for, whatever it says itself.
fn with_terminal(process: Vec<u8>, terminal: bool) -> Result<Vec<u8>, String> {
    #[derive(serde::Deserialize)]
    struct Process {
        #[serde(default)]
        terminal: Option<bool>,
    }
    let wrong = |error: serde_json::Error| format!("exec: process: {error}");
    let parsed: Process = serde_json::from_slice(&process).map_err(wrong)?;
    if parsed.terminal.unwrap_or(false) == terminal {
        return Ok(process);
    }
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&process).map_err(wrong)?;
    object.insert("terminal".into(), terminal.into());
    serde_json::to_vec(&object).map_err(wrong)
}

fn stdio(stdin: String, stdout: String, stderr: String, terminal: bool) -> Result<Stdio, Failure> {
    let stream =
        |uri: String| -> Result<Stream, Failure> { Ok(Stream { target: target(&uri).map_err(invalid)?, uri }) };
    let stdin = stream(stdin)?;
    if matches!(stdin.target, Target::File(_) | Target::Binary { .. }) {
        return Err(invalid(format!("stdio {:?}: standard input is a fifo; give its path alone", stdin.uri)));
    }
    Ok(Stdio { stdin, stdout: stream(stdout)?, stderr: stream(stderr)?, terminal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Any, CheckpointOptions, Options};

    fn call(method: &str, message: &impl Message) -> Result<Call, Failure> {
        let service = "containerd.task.v3.Task".into();
        let request = Request { service, method: method.into(), payload: message.encode_to_vec(), timeout_nano: 0 };
        parse(&request.encode_to_vec())
    }

    fn created() -> CreateRequest {
        CreateRequest { id: "c".into(), bundle: "/b".into(), ..CreateRequest::default() }
    }

    #[test]
    fn a_request_is_parsed_once_and_whole() {
        let options = Options { systemd_cgroup: true, ..Options::default() };
        let any = Some(Any::of("containerd.runc.v1.Options", &options));
        let request = CreateRequest { options: any, stdout: "file:///log".into(), ..created() };
        let call = call("Create", &request).unwrap();
        assert_eq!(call.who, ProcessId::init("c"));
        let Verb::Create(spec) = call.verb else { panic!("{call:?}") };
        assert!(spec.options.systemd_cgroup);
        assert_eq!(spec.stdio.stdout.target, crate::stdio::Target::File("/log".into()));
    }

    #[test]
    fn the_terminal_of_an_exec_is_that_of_the_request() {
        for (text, terminal, expected) in [
            (r#"{"args": ["a"]}"#, false, r#"{"args": ["a"]}"#),
            (r#"{"terminal": true}"#, true, r#"{"terminal": true}"#),
            (r#"{"cwd":"/","terminal":true}"#, false, r#"{"cwd":"/","terminal":false}"#),
            (r#"{"cwd":"/"}"#, true, r#"{"cwd":"/","terminal":true}"#),
        ] {
            assert_eq!(with_terminal(text.into(), terminal), Ok(expected.into()), "{text}");
        }
        assert!(with_terminal(b"[]".to_vec(), true).is_err());
    }

    #[test]
    fn what_is_wrong_in_a_request_is_an_invalid_argument() {
        let unknown = Some(Any { type_url: "x".into(), value: vec![1] });
        let unreadable = Some(Any { type_url: "containerd.runc.v1.Options".into(), value: vec![0xff] });
        let requests = [
            (CreateRequest { id: "../c".into(), ..created() }, "container id"),
            (CreateRequest { bundle: "b".into(), ..created() }, "must be absolute"),
            (CreateRequest { options: unknown, ..created() }, "unknown type x"),
            (CreateRequest { options: unreadable, ..created() }, "options: not"),
            (CreateRequest { stdout: "npipe:///x".into(), ..created() }, "unknown scheme"),
            (CreateRequest { stdin: "file:///x".into(), ..created() }, "standard input is a fifo"),
            (CreateRequest { stdin: "binary:///x".into(), ..created() }, "standard input is a fifo"),
        ];
        for (request, text) in requests {
            let failure = call("Create", &request).unwrap_err();
            assert!(failure.code == Code::InvalidArgument && failure.message.contains(text), "{failure:?}");
        }
        let exec = ExecRequest { id: "c".into(), exec_id: "e".into(), ..ExecRequest::default() };
        assert_eq!(call("Exec", &exec).unwrap_err().message, "exec: no process given");
        let spec = |text: &str| Some(Any { type_url: "Process".into(), value: text.into() });
        let failure = call("Exec", &ExecRequest { spec: spec("{"), ..exec }).unwrap_err();
        assert!(failure.code == Code::InvalidArgument && failure.message.starts_with("exec: process: "), "{failure:?}");
        assert_eq!(call("Update", &TaskRequest::default()).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(call("Nothing", &TaskRequest::default()).unwrap_err().code, Code::Unimplemented);
        let requests = [
            (CheckpointRequest { id: "c".into(), ..CheckpointRequest::default() }, "no path given"),
            (CheckpointRequest { path: "p".into(), ..CheckpointRequest::default() }, "must be absolute"),
            (
                CheckpointRequest {
                    options: Some(Any { type_url: "x".into(), value: vec![1] }),
                    path: "/p".into(),
                    id: "c".into(),
                },
                "unknown type x",
            ),
        ];
        for (request, text) in requests {
            let failure = call("Checkpoint", &request).unwrap_err();
            assert!(failure.code == Code::InvalidArgument && failure.message.contains(text), "{failure:?}");
        }
    }

    #[test]
    fn the_images_are_where_the_options_or_the_request_say() {
        let images = |request: &CheckpointRequest| match call("Checkpoint", request).unwrap().verb {
            Verb::Checkpoint(spec) => (spec.images, spec.options.exit),
            other => panic!("{other:?}"),
        };
        let request = CheckpointRequest { id: "c".into(), path: "/p".into(), options: None };
        assert_eq!(images(&request), ("/p".into(), false));
        let options = CheckpointOptions { exit: true, image_path: "/i".into(), ..CheckpointOptions::default() };
        let any = Some(Any::of("containerd.runc.v1.CheckpointOptions", &options));
        assert_eq!(images(&CheckpointRequest { options: any, ..request }), ("/i".into(), true));
        let restored = |request: &CreateRequest| match call("Create", request).unwrap().verb {
            Verb::Create(spec) => spec.checkpoint,
            other => panic!("{other:?}"),
        };
        let options = Options { criu_image_path: "/i".into(), ..Options::default() };
        let any = Some(Any::of("containerd.runc.v1.Options", &options));
        assert_eq!(restored(&CreateRequest { options: any.clone(), ..created() }), Some("/i".into()));
        assert_eq!(restored(&CreateRequest { options: any, checkpoint: "/c".into(), ..created() }), Some("/c".into()));
        assert_eq!(restored(&created()), None);
    }
}
