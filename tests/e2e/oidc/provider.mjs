// A real, certified OpenID provider (npm oidc-provider) on the loopback interface, with people of a test's own.
//
// usage: node provider.mjs REDIRECT_URI
// Prints `ready http://127.0.0.1:PORT` when it serves. Whoever signs in is called what they type; people whose name begins
// with `eng` are in the group `eng`.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const redirect = process.argv[2];
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'sallyport',
      client_secret: 'a secret: of the test/',
      redirect_uris: [redirect],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      id_token_signed_response_alg: 'ES256',
    }],
    jwks: { keys: [{ ...key, kid: 'test', use: 'sig', alg: 'ES256' }] },
    pkce: { required: () => true, methods: ['S256'] },
    conformIdTokenClaims: false,
    claims: { openid: ['sub', 'groups'] },
    cookies: { keys: ['only for tests'] },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, groups: id.startsWith('eng') ? ['eng'] : [] }),
    }),
  });
  server.on('request', provider.callback());
  console.log(`ready ${issuer}`);
});
