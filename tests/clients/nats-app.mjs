// An app that publishes straight to NATS, in JavaScript, with the official
// client: node nats-app.mjs URL. It exits when all is acknowledged.

import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";

const nats = await connect({ servers: process.argv[2] });
const stream = jetstream(nats);

/** Headers by name. */
function named(values) {
  const all = headers();
  for (const [name, value] of Object.entries(values)) all.set(name, value);
  return all;
}

// With an acknowledgement and an id: the second time it is a duplicate.
for (const duplicate of [false, true]) {
  const ack = await stream.publish("push.pub.kept.app", JSON.stringify({ total: 7 }), {
    headers: named({ "Push-Event": "paid", "Nats-Msg-Id": "kept.app/1" }),
  });
  if (ack.duplicate !== duplicate) throw new Error(`duplicate is ${ack.duplicate}`);
}
// Without one: text, bytes, a name that needs escapes.
nats.publish("push.pub.kept.app", "no JSON");
nats.publish("push.pub.kept.app", new Uint8Array([0, 255]), { headers: named({ "Push-Encoding": "binary" }) });
nats.publish("push.pub.chat%20message", '"hello"', { headers: named({ "Push-Event": "chat message" }) });
await nats.drain();
