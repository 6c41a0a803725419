//! A real Kamailio on loopback, and the little SIP that its callers and callees speak in tests.
#![allow(dead_code)] // each test file uses its part

use std::net::UdpSocket;

use crate::programs::{Program, free_port, wait_for};

/// What all configurations begin with: where it listens, its modules, and where the relay is. `SIP` and `NG` are put in.
const HEAD: &str = r#"
debug=0
log_stderror=yes
children=1
auto_aliases=no
disable_tcp=yes
listen=udp:127.0.0.1:SIP
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:NG")
modparam("rtpengine", "rtpengine_tout_ms", 2000)
"#;

/// A running Kamailio; ended when dropped.
pub struct Kamailio {
    _program: Program,
    _folder: tempfile::TempDir,
    /// Its SIP port on 127.0.0.1.
    pub sip: u16,
}

impl Kamailio {
    /// Starts it with these routes, before a relay whose ng port on 127.0.0.1 is `ng`; `SIP` in them is its own port.
    pub fn start(ng: u16, routes: &str) -> Kamailio {
        let sip = free_port();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kamailio.cfg");
        let config = format!("{}{routes}", HEAD.replace("NG\"", &format!("{ng}\"")));
        std::fs::write(&path, config.replace("SIP", &sip.to_string())).unwrap();
        let folder_path = folder.path().display().to_string();
        let (path, pid) = (path.display().to_string(), format!("{folder_path}/pid"));
        let arguments = ["-DD", "-E", "-m", "64", "-M", "8", "-f", &path, "-Y", &folder_path, "-P", &pid];
        Kamailio { _program: Program::start("kamailio", &arguments), _folder: folder, sip }
    }
}

/// What a Kamailio for browsers has besides. `WSS` and `FOLDER` are put in.
const WEB: &str = r#"
listen=tls:127.0.0.1:WSS
enable_tls=yes
tcp_children=1
tcp_accept_no_cl=yes
loadmodule "tls.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
modparam("tls", "certificate", "FOLDER/cert.pem")
modparam("tls", "private_key", "FOLDER/key.pem")
modparam("tls", "tls_method", "TLSv1.2+")

event_route[xhttp:request] {
    if ($hdr(Upgrade) =~ "websocket" && ws_handle_handshake()) exit;
    xhttp_reply("404", "Not Found", "", "");
}
"#;

impl Kamailio {
    /// The same with SIP over secure WebSockets, on the port that it returns.
    pub fn start_web(ng: u16, routes: &str) -> (Kamailio, u16) {
        let (sip, wss) =
            (free_port(), std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let folder = tempfile::tempdir().unwrap();
        let folder_path = folder.path().display().to_string();
        let at = |name: &str| format!("{folder_path}/{name}");
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-keyout", &at("key.pem"), "-out", &at("cert.pem")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let head = HEAD.replace("disable_tcp=yes\n", "").replace("NG\"", &format!("{ng}\""));
        let web = WEB.replace("WSS", &wss.to_string()).replace("FOLDER", &folder_path);
        // Listeners and modules before routes.
        let config = format!("{head}{web}{routes}").replace("SIP\n", &format!("{sip}\n"));
        let path = at("kamailio.cfg");
        std::fs::write(&path, config).unwrap();
        let pid = at("pid");
        let arguments = ["-DD", "-E", "-m", "64", "-M", "8", "-f", &path, "-Y", &folder_path, "-P", &pid];
        (Kamailio { _program: Program::start("kamailio", &arguments), _folder: folder, sip }, wss)
    }
}

/// The next SIP message that begins with `start` (INVITEs repeat until Kamailio listens).
pub fn sip(socket: &UdpSocket, start: &str) -> String {
    sip_with(socket, start, "")
}

/// The same, of those that say this somewhere.
pub fn sip_with(socket: &UdpSocket, start: &str, say: &str) -> String {
    wait_for(socket, &format!("{start} with {say}"), |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        (text.starts_with(start) && text.contains(say)).then(|| text.into_owned())
    })
}

/// Lines of a header.
pub fn header<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    message
        .lines()
        .filter(|l| l.to_ascii_lowercase().starts_with(&format!("{}:", name.to_ascii_lowercase())))
        .collect()
}
