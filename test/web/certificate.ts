// A certificate for tests, signed by itself.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export function makeCertificate(directory: string, commonName: string) {
  const files = {
    certificateFile: join(directory, 'cert.pem'),
    keyFile: join(directory, 'key.pem'),
  };
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
      .concat(['-subj', `/CN=${commonName}`, '-days', '1'])
      .concat(['-keyout', files.keyFile, '-out', files.certificateFile]),
    { stdio: 'ignore' },
  );
  return files;
}
