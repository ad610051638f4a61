use super::*;
use std::os::unix::net::UnixListener;

/// A reply, a signal or an error as systemd sends it.
fn message(kind: u8, fields: &[(u8, &str, &str)], reply_to: Option<u32>, body: &Writer) -> Vec<u8> {
    let mut message = Writer::default();
    message.bytes.extend([b'l', kind, 0, 1]);
    message.number(u32::try_from(body.bytes.len()).unwrap());
    message.number(7);
    message.array(8, |list| {
        for (field, signature, text) in fields {
            list.align(8);
            list.bytes.push(*field);
            list.signature(signature);
            if *signature == "g" { list.signature(text) } else { list.text(text) }
        }
        if let Some(serial) = reply_to {
            list.align(8);
            list.bytes.push(5);
            list.signature("u");
            list.number(serial);
        }
    });
    message.align(8);
    message.bytes.extend(&body.bytes);
    message.bytes
}

fn reply(body: &Writer) -> Vec<u8> {
    message(REPLY, &[(8, "g", "o"), (7, "s", "org.freedesktop.systemd1")], Some(1), body)
}

fn job_removed(job: &str, result: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.number(3);
    [job, "a.scope", result].iter().for_each(|text| body.text(text));
    message(SIGNAL, &[(1, "o", "/x"), (2, "s", "i"), (3, "s", "JobRemoved"), (8, "g", "uoss")], None, &body)
}

/// A connection to a peer that sends this, whatever it receives.
fn connection(said: &[u8]) -> (Bus, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(said).unwrap();
    let deadline = Instant::now() + Duration::from_millis(200);
    let bus = Bus { stream: ours, place: "test".into(), deadline, serial: 0, received: Vec::new(), ended: Vec::new() };
    (bus, theirs)
}

const TARGET: Target = Target { destination: "a.b", object: "/c", interface: "d.e" };

fn answer(said: &[u8]) -> Result<Answer> {
    connection(said).0.call(&TARGET, "Method", "s", &Writer::of(&["x"]))
}

#[test]
fn a_reply_is_found_among_signals_in_pieces_of_any_size() {
    let said =
        [job_removed("/job/1", "done"), reply(&Writer::of(&["/job/2"])), job_removed("/job/2", "failed")].concat();
    let (mut bus, _theirs) = connection(&said);
    let body = bus.call(&TARGET, "Method", "", &Writer::default()).unwrap().unwrap();
    assert_eq!(Reader::new(&body).text().unwrap(), "/job/2");
    assert_eq!(bus.end_of_job("/job/2").unwrap(), "failed");
    assert_eq!(bus.end_of_job("/job/1").unwrap(), "done");
    for length in 0..said.len() {
        // A part of it is never read for the whole, nor beyond.
        let (mut bus, theirs) = connection(&said[..length]);
        drop(theirs);
        let error = bus.end_of_job("/job/2").unwrap_err().to_string();
        assert_eq!(error, "test: it has closed the connection");
    }
}

#[test]
fn a_refusal_has_its_name_and_words() {
    let said = message(ERROR, &[(4, "s", "x.UnitExists"), (8, "g", "s")], Some(1), &Writer::of(&["already there"]));
    let refusal = answer(&said).unwrap().unwrap_err();
    assert_eq!(refusal, Refusal { name: "x.UnitExists".into(), text: "already there".into() });
    let wordless = message(ERROR, &[(4, "s", "x.Y")], Some(1), &Writer::default());
    assert_eq!(answer(&wordless).unwrap().unwrap_err().text, "");
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let whole = reply(&Writer::of(&["/job/2"]));
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    for (said, expected) in [
        (changed(0, b'B'), "its byte order is not this machine's"),
        (changed(7, 0xff), "its message is too long"),
        (changed(15, 0x7f), "its message is too long"),
        (changed(17, 200), "its message makes no sense"),
        (changed(18, b'v'), "its message makes no sense"),
        (changed(20, 0xff), "its message makes no sense"),
    ] {
        assert_eq!(answer(&said).unwrap_err().to_string(), format!("test: {expected}"));
    }
    // Whatever one byte is changed to, there is an answer or an error.
    for at in 0..whole.len() {
        for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
            let (mut bus, theirs) = connection(&changed(at, value));
            drop(theirs);
            let _ = bus.call(&TARGET, "Method", "", &Writer::default());
        }
    }
}

#[test]
fn nobody_is_waited_for_longer_than_the_deadline() {
    let (mut bus, _theirs) = connection(b"");
    let error = bus.call(&TARGET, "Method", "", &Writer::default()).unwrap_err();
    assert_eq!(error.to_string(), "test: it did not answer in time");
    let dir = std::env::temp_dir().join(format!("cleat-bus-{}", std::process::id()));
    let _ = std::fs::remove_file(&dir);
    let _listener = UnixListener::bind(&dir).unwrap();
    let error = Bus::connect(&dir, Duration::from_millis(50)).err().unwrap().to_string();
    std::fs::remove_file(&dir).unwrap();
    assert_eq!(error, format!("{}: it did not answer in time", dir.display()));
}

#[test]
fn a_refusal_of_the_bus_is_reported() {
    for (said, expected) in [
        (&b"DATA\r\nOK 0123456789abcdef\r\n"[..], None),
        (b"REJECTED EXTERNAL\r\n", Some("it does not accept this user: \"REJECTED EXTERNAL\"")),
        (b"ERROR \x1b[2J\r\n", Some("it does not accept this user: \"ERROR \\u{1b}[2J\"")),
        (&[b'x'; GREETING_MAX + 1], Some("what answers there speaks no D-Bus")),
    ] {
        let error = connection(said).0.authenticate().err().map(|error| error.to_string());
        assert_eq!(error, expected.map(|text| format!("test: {text}")));
    }
}

/// To the byte, as the specification has it: alignment, lengths without padding, signatures.
#[test]
fn a_call_is_encoded_as_specified() {
    let mut body = Writer::of(&["u"]);
    body.properties(&[
        Property { name: "A", value: Value::Flag(true) },
        Property { name: "B", value: Value::Pids(vec![5]) },
    ]);
    let mut expected: Vec<u8> = Vec::new();
    expected.extend(b"\x01\0\0\0u\0\0\0"); // text
    expected.extend(b"\x24\0\0\0\0\0\0\0"); // 36 bytes of properties, aligned
    expected.extend(b"\x01\0\0\0A\0\x01b\0\0\0\0\x01\0\0\0");
    expected.extend(b"\x01\0\0\0B\0\x02au\0\0\0\x04\0\0\0\x05\0\0\0");
    assert_eq!(body.bytes, expected);
    let bytes = call(&TARGET, "M", "sa(sv)", &body, 9);
    assert_eq!(bytes.len() % 8, body.bytes.len() % 8);
    assert_eq!(message_length(&bytes), Some(Ok(bytes.len())));
    let back = Message::parse(&bytes).unwrap();
    assert_eq!((back.kind, back.member.as_str(), back.body), (CALL, "M", body.bytes));
}

/// What zbus has read.
type Seen = std::sync::mpsc::Sender<(String, Vec<(String, zbus::zvariant::OwnedValue)>)>;

/// systemd's manager, as far as it is called, by zbus.
struct Manager(Seen);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    #[allow(clippy::needless_pass_by_value, reason = "zbus wants it so")]
    async fn start_transient_unit(
        &self,
        name: String,
        mode: String,
        properties: Vec<(String, zbus::zvariant::OwnedValue)>,
        others: Vec<(String, Vec<(String, zbus::zvariant::OwnedValue)>)>,
        #[zbus(signal_emitter)] emitter: zbus::object_server::SignalEmitter<'_>,
    ) -> zbus::fdo::Result<zbus::zvariant::OwnedObjectPath> {
        let job = zbus::zvariant::OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap();
        if mode != "replace" || !others.is_empty() {
            return Err(zbus::fdo::Error::InvalidArgs(mode));
        }
        self.0.send((name.clone(), properties)).unwrap();
        Manager::job_removed(&emitter, 7, job.as_ref(), &name, "done").await.unwrap();
        Ok(job)
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &zbus::object_server::SignalEmitter<'_>,
        id: u32,
        job: zbus::zvariant::ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

/// Serves one connection until `stop`'s other end is gone.
fn serve(listener: &UnixListener, seen: Seen, stop: &std::sync::mpsc::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let builder = zbus::connection::Builder::unix_stream(stream).server(zbus::Guid::generate()).unwrap().p2p();
        let builder = builder.serve_at("/org/freedesktop/systemd1", Manager(seen)).unwrap();
        let connection = builder.build().await.unwrap();
        while stop.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
            tokio::task::yield_now().await;
        }
        drop(connection);
    });
}

/// Held against zbus as the other side: it takes our greeting, reads every kind of value that a unit's properties
/// have, and we read its answers, refusals and signals.
#[test]
fn another_implementation_understands_us_and_we_it() {
    let dir = std::env::temp_dir().join(format!("cleat-bus-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (seen, calls) = std::sync::mpsc::channel();
    let (running, stop) = std::sync::mpsc::channel();
    #[allow(clippy::disallowed_methods, reason = "a test may have threads")]
    let server = std::thread::spawn(move || serve(&listener, seen, &stop));
    let properties = [
        Property { name: "Delegate", value: Value::Flag(true) },
        Property { name: "TasksMax", value: Value::Count(1 << 40) },
        Property { name: "Description", value: Value::Text("a container".into()) },
        Property { name: "Slice", value: Value::Texts(vec!["a".into(), "b.slice".into()]) },
        Property { name: "AllowedCPUs", value: Value::Set(vec![3, 0, 1]) },
        Property { name: "DeviceAllow", value: Value::Pairs(vec![("/dev/null".into(), "rwm".into())]) },
        Property { name: "PIDs", value: Value::Pids(vec![1, 70_000]) },
        Property { name: "Nice", value: Value::Number(-5) },
    ];
    let manager = Target {
        destination: "org.freedesktop.systemd1",
        object: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
    };
    let arguments = |mode: &str| {
        let mut body = Writer::of(&["a.scope", mode]);
        body.properties(&properties);
        body.array(8, |_| {});
        body
    };
    let mut bus = Bus::connect(&path, Duration::from_secs(20)).unwrap();
    let signature = "ssa(sv)a(sa(sv))";
    let answer = bus.call(&manager, "StartTransientUnit", signature, &arguments("replace")).unwrap().unwrap();
    let job = Reader::new(&answer).text().unwrap();
    assert_eq!(job, "/org/freedesktop/systemd1/job/7");
    assert_eq!(bus.end_of_job(&job).unwrap(), "done");
    let (unit, read) = calls.recv().unwrap();
    let read: Vec<_> = read.iter().map(|(name, value)| format!("{name} {}", **value)).collect();
    assert_eq!(unit, "a.scope");
    assert_eq!(
        read,
        [
            "Delegate true",
            "TasksMax uint64 1099511627776",
            "Description \"a container\"",
            "Slice [\"a\", \"b.slice\"]",
            "AllowedCPUs [byte 0x03, 0x00, 0x01]",
            "DeviceAllow [(\"/dev/null\", \"rwm\")]",
            "PIDs [uint32 1, 70000]",
            "Nice -5",
        ]
    );
    let refusal = bus.call(&manager, "StartTransientUnit", signature, &arguments("fail")).unwrap().unwrap_err();
    assert_eq!(refusal.name, "org.freedesktop.DBus.Error.InvalidArgs");
    assert_eq!(refusal.text, "fail");
    drop((running, bus));
    server.join().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
