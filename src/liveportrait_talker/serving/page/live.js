"use strict";

const STATES = { idle: "Listening", speaking: "Speaking", interrupted: "Interrupted" };
const CAPTURE = {
  microphone: { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } },
  camera: { video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25, max: 30 } } },
};
const element = (id) => document.getElementById(id);
const face = element("face");
let call = null; // { connection, channel, senders, tracks, timer }

function tell(sentence) {
  element("message").textContent = sentence;
}

function show(state, words) {
  element("state").dataset.state = state;
  element("state").textContent = words;
}

function press(id, isPressed) {
  element(id).setAttribute("aria-pressed", String(isPressed));
}

function enable(isConnected) {
  for (const id of ["microphone", "camera", "sound", "interrupt"]) element(id).disabled = !isConnected;
  for (const id of ["text", "speak"]) element(id).disabled = !isConnected || !settings.hasSpeech;
  element("start").textContent = isConnected ? "End" : "Start";
  element("start").classList.toggle("primary", !isConnected);
}

function gathered(connection) {
  return new Promise((resolve) => {
    const check = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, 3000); // a server of --ice-server that does not answer
    check();
  });
}

async function start() {
  const connection = new RTCPeerConnection({ iceServers: settings.iceServers });
  const channel = connection.createDataChannel("talk");
  const senders = {
    microphone: connection.addTransceiver("audio", { direction: "sendrecv" }).sender,
    camera: connection.addTransceiver("video", { direction: "sendrecv" }).sender,
  };
  const mine = { connection, channel, senders, tracks: {}, timer: 0, server: 0 };
  call = mine;
  const stream = new MediaStream();
  connection.addEventListener("track", ({ track, receiver }) => {
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    stream.addTrack(track);
    face.srcObject = stream;
  });
  connection.addEventListener("connectionstatechange", () => {
    if (["failed", "closed"].includes(connection.connectionState)) stop(mine, "The connection was lost: start again.");
  });
  channel.addEventListener("open", () => {
    enable(true);
    show("idle", STATES.idle);
  });
  channel.addEventListener("close", () => stop(mine, "The server ended the call."));
  channel.addEventListener("message", ({ data }) => {
    const report = JSON.parse(data);
    if (report.error) tell(report.error);
    if (report.state) show(report.state, STATES[report.state]);
    if (report.delay_ms) mine.server = report.delay_ms;
  });
  mine.timer = setInterval(() => measure(mine), 1000);
  await connection.setLocalDescription();
  await gathered(connection);
  const answer = await fetch("call", {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: connection.localDescription.sdp,
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text.trim());
  await connection.setRemoteDescription({ type: "answer", sdp: text });
}

function stop(ended, sentence) {
  if (call !== ended) return;
  call = null;
  clearInterval(ended.timer);
  for (const track of Object.values(ended.tracks)) track.stop();
  ended.connection.close();
  face.srcObject = null;
  face.load(); // the poster
  for (const id of ["microphone", "camera"]) press(id, false);
  enable(false);
  show("", "Not connected");
  element("delay").textContent = "";
  tell(sentence);
}

/** Show the time from a sound at the server to its image here: the server's, the network's and the browser's part. */
async function measure(mine) {
  let roundTrip = 0;
  let buffered = 0;
  for (const report of (await mine.connection.getStats()).values()) {
    if (report.type === "candidate-pair" && report.nominated) roundTrip = report.totalRoundTripTime / (report.responsesReceived || 1);
    if (report.type === "inbound-rtp" && report.kind === "video") {
      const before = mine.buffer ?? { jitterBufferDelay: 0, jitterBufferEmittedCount: 0 };
      const count = report.jitterBufferEmittedCount - before.jitterBufferEmittedCount;
      buffered = count > 0 ? (report.jitterBufferDelay - before.jitterBufferDelay) / count : 0;
      mine.buffer = report;
    }
  }
  if (call !== mine || !mine.server) return;
  const delay = mine.server + 1000 * (roundTrip + buffered);
  element("delay").textContent = `Delay about ${10 * Math.round(delay / 10)} ms`;
}

async function toggle(kind) {
  const mine = call;
  if (!mine) return;
  tell("");
  const track = mine.tracks[kind];
  if (track) {
    track.stop();
    delete mine.tracks[kind];
    await mine.senders[kind].replaceTrack(null);
  } else {
    if (!navigator.mediaDevices) {
      tell("The browser gives microphone and camera only to pages on this computer or over HTTPS.");
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(CAPTURE[kind]);
    } catch (error) {
      tell(`The browser does not give the ${kind}: ${error.message}.`);
      return;
    }
    const [made] = stream.getTracks();
    if (call !== mine || mine.tracks[kind]) {
      made.stop();
      return;
    }
    mine.tracks[kind] = made;
    await mine.senders[kind].replaceTrack(made);
  }
  press(kind, kind in mine.tracks);
  if (kind === "microphone") hear(!(kind in mine.tracks));
}

function hear(isHeard) {
  face.muted = !isHeard;
  press("sound", isHeard);
}

function send(message) {
  tell("");
  if (call?.channel.readyState === "open") call.channel.send(JSON.stringify(message));
}

element("start").addEventListener("click", async () => {
  if (call) {
    stop(call, "");
    return;
  }
  tell("");
  show("", "Connecting …");
  hear(true);
  element("start").disabled = true;
  try {
    await start();
  } catch (error) {
    if (call) stop(call, error.message);
  } finally {
    element("start").disabled = false;
  }
});
for (const kind of ["microphone", "camera"]) element(kind).addEventListener("click", () => toggle(kind));
element("sound").addEventListener("click", () => hear(face.muted));
element("interrupt").addEventListener("click", () => send({ interrupt: true }));
document.addEventListener("keydown", ({ key }) => key === "Escape" && send({ interrupt: true }));
element("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = element("text").value;
  if (text.trim()) send({ say: text });
});
element("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    element("say").requestSubmit();
  }
});
addEventListener("pagehide", () => call && stop(call, ""));

let settings = { hasSpeech: false };
fetch("settings")
  .then((answer) => answer.json())
  .then((given) => {
    settings = given;
    face.width = given.width;
    face.height = given.height;
    element("text").maxLength = given.maxCharacters;
    if (!given.hasSpeech) {
      element("text").placeholder = "Typed text needs an extra: pip install 'liveportrait-talker[speech]'";
    }
  })
  .catch(() => tell("The server does not answer: reload the page."));
