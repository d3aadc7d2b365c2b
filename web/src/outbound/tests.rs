//! Everything "public" and "private" here is played: names and addresses lead to servers of the
//! test on loopback, and nothing else is ever contacted.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;

/// An Internet of the test's own: which addresses names have at each look-up, and which server of
/// the test is behind an address. What has none is not there; who asks for it is counted.
#[derive(Default, Clone)]
struct World(Arc<Inner>);

#[derive(Default)]
struct Inner {
    names: Mutex<HashMap<String, Vec<Vec<&'static str>>>>,
    servers: Mutex<HashMap<SocketAddr, SocketAddr>>,
    dialled: Mutex<Vec<SocketAddr>>,
    lookups: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver for World {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.0.lookups.fetch_add(1, Ordering::Relaxed);
        let mut names = lock(&self.0.names);
        // Each answer once, the last one for ever.
        let answer = names.get_mut(name).map(|answers| match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        });
        let parsed = answer.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect());
        let parsed = parsed.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        Box::pin(async move { parsed })
    }
}

impl Connector for World {
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        lock(&self.0.dialled).push(address);
        let server = lock(&self.0.servers).get(&address).copied();
        Box::pin(async move {
            let server = server.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            TcpStream::connect(server).await
        })
    }
}

impl World {
    fn name(self, name: &str, answers: &[&[&'static str]]) -> Self {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        lock(&self.0.names).insert(name.into(), answers);
        self
    }

    /// Puts a server behind an address; it answers what `answer` says and tells what it was asked.
    async fn server(
        &self,
        address: &str,
        answer: impl Fn(&str) -> String + Send + 'static,
    ) -> mpsc::UnboundedReceiver<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        lock(&self.0.servers).insert(address.parse().unwrap(), listener.local_addr().unwrap());
        let (told, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let answer = answer(&request);
                let _ = told.send(request);
                // A client that has gone away is not this server's matter.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        asked
    }

    fn outbound(&self, allowed: &[&str]) -> Outbound {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let limits = Limits {
            connect: Duration::from_secs(10),
            stretch: Duration::from_secs(10),
            least: 1024,
            whole: Duration::from_secs(60),
        };
        Outbound::with(Guard::new(allowed, [8443]), limits, self.clone(), self.clone())
    }

    fn dialled(&self) -> Vec<String> {
        lock(&self.0.dialled).iter().map(ToString::to_string).collect()
    }
}

/// Head and body of a request, as far as its `Content-Length` says.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

fn get(url: &str) -> Request {
    Request::get(url, None).unwrap()
}

async fn text(outbound: &Outbound, request: &Request) -> Result<String, Error> {
    let mut answer = outbound.send(request).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_public_name_is_asked_at_its_address() {
    let world = World::default().name("audio.example", &[&["192.0.2.9", "93.184.216.34"]]);
    let mut asked = world.server("93.184.216.34:80", |_| ok("sound")).await;
    let outbound = world.outbound(&[]);
    assert_eq!(text(&outbound, &get("http://Audio.example./a?b=c")).await.unwrap(), "sound");
    // The address of a documentation network in the same answer was left out.
    assert_eq!(world.dialled(), ["93.184.216.34:80"]);
    let asked = asked.recv().await.unwrap();
    assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\nhost: audio.example\r\n"), "{asked}");
    assert!(asked.contains("user-agent: Speechmatics-API/2.0\r\n"), "{asked}");
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_hide_the_next_one() {
    struct Silent(World);
    impl Connector for Silent {
        fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
            if address.is_ipv6() {
                return Box::pin(std::future::pending());
            }
            self.0.connect(address)
        }
    }
    let world = World::default().name("two.example", &[&["2606:4700::1111", "93.184.216.34"]]);
    let _asked = world.server("93.184.216.34:80", |_| ok("second")).await;
    let mut outbound = world.outbound(&[]);
    outbound.connector = Box::new(Silent(world.clone()));
    outbound.limits.connect = Duration::from_secs(2);
    assert_eq!(text(&outbound, &get("http://two.example/")).await.unwrap(), "second");
}

#[tokio::test]
async fn nobody_is_asked_where_a_name_leads_inside() {
    for addresses in [
        &["127.0.0.1"][..],
        &["10.0.0.1"],
        &["192.168.0.1", "172.16.0.1"],
        &["169.254.169.254"],
        &["0.0.0.0"],
        &["::1"],
        &["::ffff:10.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["fd00:ec2::254"],
        &["fe80::1"],
        &["::127.0.0.1"],
        &[],
    ] {
        let world = World::default().name("inside.example", &[addresses]);
        let told = text(&world.outbound(&[]), &get("http://inside.example/")).await.unwrap_err();
        // The same words as for a name that there is not.
        assert_eq!(told, Error::NoAddress, "{addresses:?}");
        assert_eq!(world.dialled(), [""; 0], "{addresses:?}");
    }
    let world = World::default();
    assert_eq!(text(&world.outbound(&[]), &get("http://no.example/")).await, Err(Error::NoAddress));
}

#[tokio::test]
async fn an_address_inside_is_refused_in_every_spelling_without_a_look_up() {
    let world = World::default();
    let outbound = world.outbound(&[]);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "LocalHost.",
        "x.localhost",
        "169.254.169.254",
        "0xa9fea9fe",
        "10.1",
        "192.168.257",
        "[fd00::1]",
    ] {
        let request = get(&format!("http://{host}:9090/"));
        assert_eq!(outbound.judge(&request), Err(NotAllowed), "{host}");
        let told = outbound.send(&request).await.unwrap_err();
        assert_eq!(told, Error::NotAllowed(NotAllowed), "{host}");
        assert!(told.is_final());
    }
    assert_eq!((world.dialled().len(), world.0.lookups.load(Ordering::Relaxed)), (0, 0));
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_connected_where_it_was_judged() {
    // The second answer, and every one after it, leads inside.
    let world = World::default().name("rebound.example", &[&["93.184.216.34"], &["127.0.0.1"]]);
    let _asked = world.server("93.184.216.34:80", |_| ok("outside")).await;
    let outbound = world.outbound(&[]);
    let request = get("http://rebound.example/");
    assert_eq!(text(&outbound, &request).await.unwrap(), "outside");
    assert_eq!(world.0.lookups.load(Ordering::Relaxed), 1, "it was resolved once");
    assert_eq!(text(&outbound, &request).await, Err(Error::NoAddress));
    assert_eq!(world.dialled(), ["93.184.216.34:80"]);
}

#[tokio::test]
async fn each_redirect_is_judged_anew() {
    for location in [
        "http://127.0.0.1:9090/api/v1/status/config",
        "http://2130706433/",
        "//0x7f.1/",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
        "http://localhost:9000/",
        "http://inside.example/",
        "http://a@93.184.216.34/",
        "file:///etc/passwd",
        "gopher://93.184.216.34:70/",
    ] {
        let world = World::default()
            .name("outside.example", &[&["93.184.216.34"]])
            .name("inside.example", &[&["10.0.0.7"]]);
        let _asked = world.server("93.184.216.34:80", move |_| redirect(302, location)).await;
        let told = world.outbound(&[]).send(&get("http://outside.example/")).await.unwrap_err();
        let refused = matches!(told, Error::NotAllowed(_) | Error::NoAddress | Error::Redirect(_));
        assert!(refused, "{location}: {told}");
        assert_eq!(world.dialled(), ["93.184.216.34:80"], "{location}");
    }
}

#[tokio::test]
async fn a_network_that_is_listed_is_reached_but_no_listener_of_ours() {
    let world = World::default().name("inside.example", &[&["10.0.0.7"]]);
    let _asked = world.server("10.0.0.7:80", |_| ok("inside")).await;
    let _asked = world.server("127.0.0.1:8000", |_| ok("here")).await;
    let outbound = world.outbound(&["10.0.0.0/8", "127.0.0.0/8"]);
    assert_eq!(text(&outbound, &get("http://inside.example/")).await.unwrap(), "inside");
    assert_eq!(text(&outbound, &get("http://127.1:8000/")).await.unwrap(), "here");
    for own in
        ["http://127.0.0.1:8443/", "http://127.7.7.7:8443/", "http://[::ffff:127.0.0.1]:8443/"]
    {
        assert_eq!(
            outbound.send(&get(own)).await.unwrap_err(),
            Error::NotAllowed(NotAllowed),
            "{own}"
        );
    }
    assert_eq!(world.dialled(), ["10.0.0.7:80", "127.0.0.1:8000"]);
}

fn with_secrets(url: &str) -> Request {
    let lines = ["Authorization: Bearer s3cret", "X-Key: s3cret", "Cookie: s3cret"];
    Request::get(url, Some(&lines.map(str::to_owned))).unwrap()
}

#[tokio::test]
async fn credentials_go_to_the_origin_that_they_are_for_alone() {
    let names: [(&str, &[&[&'static str]]); 2] =
        [("a.example", &[&["93.184.216.34"]]), ("b.example", &[&["93.184.216.35"]])];
    // Another host, another port, another address of the same server; and back.
    for other in ["http://b.example/", "http://a.example:81/", "http://93.184.216.34/"] {
        let mut world = World::default();
        for (name, answers) in names {
            world = world.name(name, answers);
        }
        let hop = move |request: &str| match request {
            _ if request.starts_with("GET /first ") => redirect(302, "/second"),
            _ if request.starts_with("GET /second ") => redirect(307, &format!("{other}third")),
            _ if request.starts_with("GET /third ") => redirect(302, "http://a.example/fourth"),
            _ => ok("end"),
        };
        let (told, mut asked) = mpsc::unbounded_channel();
        for address in ["93.184.216.34:80", "93.184.216.35:80", "93.184.216.34:81"] {
            let mut one = world.server(address, hop).await;
            let told = told.clone();
            tokio::spawn(async move {
                while let Some(request) = one.recv().await {
                    told.send(request).unwrap();
                }
            });
        }
        let request = with_secrets("http://a.example/first");
        assert_eq!(text(&world.outbound(&[]), &request).await.unwrap(), "end", "{other}");
        for (path, secret) in
            [("first", true), ("second", true), ("third", false), ("fourth", false)]
        {
            let request = asked.recv().await.unwrap();
            assert!(request.starts_with(&format!("GET /{path} ")), "{other}: {request}");
            assert_eq!(request.contains("s3cret"), secret, "{other}: {request}");
        }
    }
}

#[tokio::test]
async fn redirects_without_end_are_given_up() {
    let world = World::default();
    let mut asked = world.server("93.184.216.34:80", |_| redirect(302, "/again")).await;
    let told = world.outbound(&[]).send(&get("http://93.184.216.34/")).await.unwrap_err();
    assert_eq!(told, Error::TooManyRedirects);
    let mut count = 0;
    while asked.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, MOST_REDIRECTS + 1);
}

#[tokio::test]
async fn a_body_is_sent_again_where_a_redirect_keeps_it_and_never_lost() {
    let world = World::default();
    let mut asked = world
        .server("93.184.216.34:80", |request| match request {
            _ if request.starts_with("POST /307") => redirect(307, "/end"),
            _ if request.starts_with("POST /308") => redirect(308, "/end"),
            _ if request.starts_with("POST /301") => redirect(301, "/end"),
            _ if request.starts_with("POST /302") => redirect(302, "/end"),
            _ if request.starts_with("POST /303") => redirect(303, "/end"),
            _ => ok(""),
        })
        .await;
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"from a file", 0).unwrap();
    let mut body = Body::default();
    body.push("first, ");
    body.push_file(file, 11);
    let post = |path: &str| {
        let request = get(&format!("http://93.184.216.34/{path}"));
        request.with_body(false, "text/plain", body.clone()).unwrap()
    };
    let outbound = world.outbound(&[]);
    for path in ["307", "308"] {
        assert_eq!(outbound.send(&post(path)).await.unwrap().status(), 200);
        for path in [path, "end"] {
            let request = asked.recv().await.unwrap();
            assert!(request.starts_with(&format!("POST /{path} ")), "{request}");
            assert!(request.ends_with("\r\n\r\nfirst, from a file"), "{request}");
            assert!(request.contains("content-length: 18\r\n"), "{request}");
            assert!(request.contains("content-type: text/plain\r\n"), "{request}");
        }
    }
    for status in [301, 302, 303] {
        let told = outbound.send(&post(&status.to_string())).await.unwrap_err();
        assert_eq!(told, Error::LosesBody(status));
        assert!(asked.recv().await.unwrap().starts_with("POST"));
        assert!(asked.try_recv().is_err(), "{status}: nothing was sent after it");
    }
}

/// Short enough to wait for, long enough for a busy machine.
fn impatient(world: &World) -> Outbound {
    let limits = Limits { stretch: Duration::from_millis(700), ..world.outbound(&[]).limits };
    Outbound { limits, ..world.outbound(&[]) }
}

#[tokio::test]
async fn who_never_answers_and_who_drips_is_given_up() {
    // Nothing at all; a head without end; a body without end. The rest never comes fast enough.
    for beginning in
        ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = World::default();
        let address = "93.184.216.34:80".parse().unwrap();
        lock(&world.0.servers).insert(address, listener.local_addr().unwrap());
        let dripping = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            loop {
                if !beginning.is_empty() && stream.write_all(b"a").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let told = text(&impatient(&world), &get("http://93.184.216.34/")).await;
        assert_eq!(told, Err(Error::Slow), "{beginning:?}");
        dripping.abort();
    }
}

#[tokio::test]
async fn who_does_not_take_the_body_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::default();
    lock(&world.0.servers)
        .insert("93.184.216.34:80".parse().unwrap(), listener.local_addr().unwrap());
    let holding = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    let mut body = Body::default();
    body.push(vec![0; 64 << 20]);
    let request = get("http://93.184.216.34/").with_body(true, "", body).unwrap();
    assert_eq!(impatient(&world).send(&request).await.unwrap_err(), Error::Slow);
    holding.abort();
}

#[tokio::test]
async fn an_answer_that_is_no_end_of_headers_is_given_up() {
    let world = World::default();
    let many: String = (0..5000).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let _asked = world
        .server("93.184.216.34:80", move |request| match request {
            _ if request.starts_with("GET /many") => format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            _ => format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "a".repeat(1 << 20)),
        })
        .await;
    for path in ["many", "long"] {
        let told = world.outbound(&[]).send(&get(&format!("http://93.184.216.34/{path}"))).await;
        assert!(matches!(told, Err(Error::Broken(_))), "{path}: {told:?}");
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_request_that_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::default();
    lock(&world.0.servers)
        .insert("93.184.216.34:80".parse().unwrap(), listener.local_addr().unwrap());
    let outbound = world.outbound(&[]);
    let request = get("http://93.184.216.34/");
    let mut stream = {
        let mut sending = std::pin::pin!(outbound.send(&request));
        tokio::select! {
            accepted = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await;
                stream
            } => accepted,
            _ = &mut sending => panic!("nobody has answered"),
        }
    };
    // Its end arrives although nobody has answered.
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn https_asks_for_a_certificate_of_the_name() {
    let key = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::default()
        .name("a.example", &[&["93.184.216.34"]])
        .name("b.example", &[&["93.184.216.34"]]);
    lock(&world.0.servers)
        .insert("93.184.216.34:443".parse().unwrap(), listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let count = stream.read(&mut head).await.unwrap_or(0);
            let plain = head[..count].starts_with(b"GET /plain");
            let answer = if plain { redirect(302, "http://a.example/") } else { ok("secure") };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = OnceCell::new_with(Some(Arc::new(client)));
    let outbound = Outbound { tls, ..world.outbound(&[]) };
    assert_eq!(text(&outbound, &get("https://a.example/")).await.unwrap(), "secure");
    let other = text(&outbound, &get("https://b.example/")).await;
    assert!(matches!(&other, Err(Error::Tls(_))), "{other:?}");
    let plain = text(&outbound, &get("https://a.example/plain")).await;
    assert_eq!(plain, Err(Error::Redirect(TargetError::Downgrade)));
    assert_eq!(world.dialled(), ["93.184.216.34:443"; 3]);
}
