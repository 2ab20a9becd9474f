//! A network between processes that can be cut: bytes wait while it is, as on a cable that is pulled and put back.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, OnceLock},
    thread,
};

/// Whether the bytes of a network flow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(Arc<Cable>);

#[derive(Debug, Default)]
struct Cable {
    is_cut: Mutex<bool>,
    changed: Condvar,
}

impl Network {
    /// Lets nothing through any more. Connections stay as they are, and new ones are accepted without an answer.
    pub(crate) fn cut(&self) {
        self.set(true);
    }

    /// Lets everything through again, first what has waited.
    pub(crate) fn mend(&self) {
        self.set(false);
    }

    fn set(&self, is_cut: bool) {
        *self.0.is_cut.lock().expect("no holder panics") = is_cut;
        self.0.changed.notify_all();
    }

    fn wait_until_mended(&self) {
        let cut = self.0.is_cut.lock().expect("no holder panics");
        let mended = self
            .0
            .changed
            .wait_while(cut, |is_cut| *is_cut)
            .expect("no holder panics");
        drop(mended);
    }
}

/// Where one process is reached over a network.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    target: Arc<Target>,
}

/// The process behind a port, once it is known.
#[derive(Debug, Default)]
struct Target {
    address: Mutex<Option<SocketAddr>>,
    known: Condvar,
}

impl Target {
    fn wait(&self) -> SocketAddr {
        let address = self.address.lock().expect("no holder panics");
        let address = self.known.wait_while(address, |known| known.is_none());
        address.expect("no holder panics").expect("it is known")
    }
}

impl Proxy {
    /// Opens a port that leads to a target that is named later.
    pub(crate) fn open(network: &Network) -> Self {
        Self::between(network, network)
    }

    /// Opens a port of which the bytes there and those back flow over two networks.
    pub(crate) fn between(there: &Network, back: &Network) -> Self {
        let networks = (there.clone(), back.clone());
        Self::sorting(move |_| Some(networks.clone()))
    }

    /// Opens a port that asks for each connection, named by where it comes from, over which networks the bytes there and those back flow.
    /// As long as the answer is `None` they flow, and it is asked again.
    pub(crate) fn sorting(
        sort: impl Fn(SocketAddr) -> Option<(Network, Network)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let target = Arc::<Target>::default();
        let (sort, known): (Arc<Sort>, _) = (Arc::new(sort), Arc::clone(&target));
        thread::spawn(move || {
            for inbound in listener.incoming().flatten() {
                let (sort, known) = (Arc::clone(&sort), Arc::clone(&known));
                thread::spawn(move || {
                    // Whoever is gone already has nothing to say.
                    if let Ok(from) = inbound.peer_addr() {
                        connect(&Arc::new(Course::new(from, sort)), inbound, &known);
                    }
                });
            }
        });
        Self { address, target }
    }

    /// The URL of the port.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names the process that the port leads to from the next connection on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.target.address.lock().expect("no holder panics") = Some(target);
        self.target.known.notify_all();
    }
}

/// Says for a connection, named by where it comes from, over which networks its bytes there and those back flow.
type Sort = dyn Fn(SocketAddr) -> Option<(Network, Network)> + Send + Sync;

/// What the bytes of one connection flow over.
struct Course {
    from: SocketAddr,
    sort: Arc<Sort>,
    found: OnceLock<(Network, Network)>,
}

/// A direction of a connection.
#[derive(Clone, Copy)]
enum Towards {
    Target,
    Origin,
}

impl Course {
    fn new(from: SocketAddr, sort: Arc<Sort>) -> Self {
        let found = OnceLock::new();
        Self { from, sort, found }
    }

    fn wait_until_mended(&self, towards: Towards) {
        let found = self.found.get().cloned();
        let Some(networks) = found.or_else(|| (self.sort)(self.from)) else {
            return;
        };
        let (there, back) = self.found.get_or_init(|| networks);
        match towards {
            Towards::Target => there.wait_until_mended(),
            Towards::Origin => back.wait_until_mended(),
        }
    }
}

/// Carries bytes both ways until both sides have said everything.
fn connect(course: &Arc<Course>, inbound: TcpStream, target: &Target) {
    course.wait_until_mended(Towards::Target);
    let Ok(outbound) = TcpStream::connect(target.wait()) else {
        return;
    };
    let (Ok(back_from), Ok(back_to)) = (outbound.try_clone(), inbound.try_clone()) else {
        return;
    };
    let back = Arc::clone(course);
    thread::spawn(move || carry(&back, Towards::Origin, back_from, back_to));
    carry(course, Towards::Target, inbound, outbound);
}

fn carry(course: &Course, towards: Towards, mut from: TcpStream, mut to: TcpStream) {
    // What came as it was sent goes on as it came: the system would wait for more, and it is not its time that is measured.
    if to.set_nodelay(true).is_err() {
        return;
    }
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        course.wait_until_mended(towards);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    course.wait_until_mended(towards);
    // The other side may be gone already; then there is nothing left to tell it.
    let _told = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use super::*;

    #[test]
    fn bytes_wait_while_the_network_is_cut() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let network = Network::default();
        let proxy = Proxy::open(&network);
        proxy.lead_to(echo.local_addr().unwrap());
        thread::spawn(move || {
            let (mut from, _) = echo.accept().unwrap();
            let mut to = from.try_clone().unwrap();
            std::io::copy(&mut from, &mut to)
        });

        let mut stream = TcpStream::connect(proxy.address).unwrap();
        let mut byte = [0];
        stream.write_all(b"a").unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"a");

        network.cut();
        stream.write_all(b"b").unwrap();
        let patience = Some(Duration::from_millis(50));
        stream.set_read_timeout(patience).unwrap();
        let error = stream.read_exact(&mut byte).unwrap_err();
        let expected = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
        assert!(expected.contains(&error.kind()), "{error}");

        network.mend();
        stream.set_read_timeout(None).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"b");
    }
}
