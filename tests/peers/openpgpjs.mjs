// OpenPGP.js as a correspondent: one request a line of JSON on standard input, one answer a line.
// Bytes are base64. The program is kept running, because starting it costs more than its work.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const peers = process.argv[2];
const openpgp = createRequire(`${peers}/js/`)('openpgp');
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const base64 = (data) => Buffer.from(data).toString('base64');
const text = (encoded) => Buffer.from(encoded, 'base64').toString('utf8');
const secret = (encoded) => openpgp.readPrivateKey({ armoredKey: text(encoded) });
const certificate = (encoded) => openpgp.readKey({ armoredKey: text(encoded) });

// Every signature has to be good, and there has to be one.
async function good(signatures) {
  for (const one of signatures) {
    try {
      await one.verified;
    } catch (error) {
      return { good: false, why: error.message };
    }
  }
  return { good: signatures.length > 0 };
}

const operations = {
  async version() {
    return { version: openpgp.config.versionString };
  },
  async generate({ user }) {
    const made = await openpgp.generateKey({ userIDs: [{ email: user }], format: 'armored' });
    return { secret: base64(made.privateKey), certificate: base64(made.publicKey) };
  },
  async encrypt({ key, to, data, sign, hidden }) {
    const message = await openpgp.createMessage({ binary: bytes(data) });
    const armored = await openpgp.encrypt({
      message,
      encryptionKeys: await certificate(to),
      signingKeys: sign ? await secret(key) : undefined,
      wildcard: hidden,
    });
    return { out: base64(armored) };
  },
  async sign({ key, data }) {
    const message = await openpgp.createMessage({ binary: bytes(data) });
    const config = { preferredHashAlgorithm: openpgp.enums.hash.sha512 };
    return { out: base64(await openpgp.sign({ message, signingKeys: await secret(key), detached: true, config })) };
  },
  async clearsign({ key, data }) {
    const message = await openpgp.createCleartextMessage({ text: text(data) });
    return { out: base64(await openpgp.sign({ message, signingKeys: await secret(key) })) };
  },
  async decrypt({ key, from, data }) {
    const message = await openpgp.readMessage({ armoredMessage: text(data) });
    const opened = await openpgp.decrypt({
      message,
      decryptionKeys: await secret(key),
      verificationKeys: await certificate(from),
      format: 'binary',
    });
    return { data: base64(opened.data), ...(await good(opened.signatures)) };
  },
  async verify({ from, data, signature }) {
    const checked = await openpgp.verify({
      message: await openpgp.createMessage({ binary: bytes(data) }),
      signature: await openpgp.readSignature({ armoredSignature: text(signature) }),
      verificationKeys: await certificate(from),
    });
    return good(checked.signatures);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = await operations[request.op](request);
  } catch (error) {
    answer = { error: String(error?.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
