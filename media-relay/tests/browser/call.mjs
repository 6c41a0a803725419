// A browser that calls: Chromium with a microphone of its own making, JsSIP over a secure WebSocket.
//   node call.mjs PEERS WSS_URL [USER PASSWORD DOMAIN CALLER CALLED]
// With a user it registers first, and what it does is signed.
// PEERS is a folder with node_modules of jssip, playwright-core and esbuild. Prints one line of JSON when the call is over: what the
// browser heard, by its own statistics. Ends with 1 when the call does not come about.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const [peers, url, user, password, domain = 'localhost', caller, called = 'phone'] = process.argv.slice(2);
const require = createRequire(join(peers, 'node_modules', 'x.js'));
const { chromium } = require('playwright-core');
const esbuild = require('esbuild');

const built = await esbuild.build({
  stdin: { contents: "globalThis.JsSIP = require('jssip');", resolveDir: peers },
  bundle: true, write: false, format: 'iife', platform: 'browser', logLevel: 'error',
});
const executablePath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({
  executablePath,
  args: [
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required',
    // Both ends live on this machine, and nobody's address is to be hidden from it.
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks', '--ignore-certificate-errors', '--no-sandbox',
  ],
});
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['microphone'] });
  const page = await context.newPage();
  page.on('console', message => console.error(message.text()));
  await page.route('http://localhost/**', route => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>call</title>' }));
  await page.goto('http://localhost/');
  await page.addScriptTag({ content: built.outputFiles[0].text });
  const heard = await page.evaluate(async ({ url, user, password, domain, caller, called }) => {
    const { JsSIP } = globalThis;
    const socket = new JsSIP.WebSocketInterface(url);
    const ua = new JsSIP.UA({ sockets: [socket], uri: `sip:${user ?? 'web'}@${domain}`, register: user !== undefined, password, session_timers: false });
    const connected = new Promise((done, failed) => {
      ua.on('connected', done);
      ua.on('disconnected', e => failed(new Error(`no WebSocket: ${e.reason ?? e.code}`)));
    });
    const registered = new Promise((done, failed) => {
      ua.on('registered', done);
      ua.on('registrationFailed', e => failed(new Error(`not registered: ${e.cause} ${e.response?.status_code ?? ''}`)));
    });
    ua.start();
    await connected;
    if (user !== undefined) await registered;
    const session = ua.call(`sip:${called}@${domain}`, {
      fromUserName: caller,
      mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] }, rtcOfferConstraints: { offerToReceiveAudio: true },
    });
    const play = e => {
      const audio = new Audio();
      audio.srcObject = e.streams[0];
      audio.play();
    };
    session.connection.addEventListener('track', play);
    await new Promise((done, failed) => {
      session.on('confirmed', done);
      session.on('failed', e => failed(new Error(`the call failed: ${e.cause} ${e.message?.status_code ?? ''}`)));
    });
    const report = async () => {
      const all = [...(await session.connection.getStats()).values()];
      const of = (type, more) => all.find(s => s.type === type && Object.entries(more).every(([k, v]) => s[k] === v)) ?? {};
      const inbound = of('inbound-rtp', { kind: 'audio' });
      const transport = of('transport', {});
      return {
        packets: inbound.packetsReceived ?? 0, lost: inbound.packetsLost ?? 0, energy: inbound.totalAudioEnergy ?? 0,
        codec: all.find(s => s.id === inbound.codecId)?.mimeType, dtls: transport.dtlsState, tls: transport.tlsVersion, suite: transport.srtpCipher,
      };
    };
    const end = Date.now() + 30_000;
    let last = await report();
    while (last.packets < 150 || last.energy < 0.01) {
      if (Date.now() > end) throw new Error(`nothing is heard: ${JSON.stringify(last)}`);
      await new Promise(done => requestAnimationFrame(done));
      last = await report();
    }
    const ended = new Promise(done => session.on('ended', done));
    session.terminate();
    await ended;
    return last;
  }, { url, user, password, domain, caller, called });
  console.log(JSON.stringify(heard));
} finally {
  await browser.close();
}
