// Texts that several tests of this room compare with.

/** Multi-line text as it goes over the wire. */
export function crlf(text: string): string {
  return text.replaceAll('\n', '\r\n');
}

export const INFO_BEHIND_NAT = crlf(`200 Success
<tunnel action="info" type="v6udpv4" lifetime="10080">
<server>
<address type="ipv4">192.0.2.53</address>
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0010</address>
</server>
<client>
<address type="ipv4">10.20.30.40</address>
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0011</address>
<address type="dn">alice.users.tb.example</address>
<router>
<prefix length="56">2001:0db8:00aa:bb00:0000:0000:0000:0000</prefix>
</router>
<keepalive interval="30">
<address type="ipv6">2001:0db8:0000:0001:0000:0000:0000:0010</address>
</keepalive>
</client>
</tunnel>
`);

export function framed(text: string): string {
  return `Content-length: ${text.length}\r\n${text}`;
}

export const CREATE = framed(
  crlf(`<tunnel action="create" type="v6anyv4" proxy="no">
 <client>
  <address type="ipv4">10.20.30.40</address>
  <keepalive interval="30"><address type="ipv6">::</address></keepalive>
  <router>
   <prefix length="56"/>
  </router>
 </client>
</tunnel>
`),
);

export const ACCEPT = 'Content-length: 35\r\n<tunnel action="accept"></tunnel>\r\n';
export const REJECT = 'Content-length: 35\r\n<tunnel action="reject"></tunnel>\r\n';
export const INFO = framed('<tunnel action="info"></tunnel>\r\n');
export const DELETE = framed('<tunnel action="delete"></tunnel>\r\n');
/** As gogoc is told it; those who ask for more room are told of SCRAM too. */
export const CAPABILITY =
  'CAPABILITY TUNNEL=V6V4 TUNNEL=V6UDPV4 AUTH=ANONYMOUS AUTH=PLAIN AUTH=DIGEST-MD5\r\n';
export const WHOLE_CAPABILITY = CAPABILITY.replace('\r\n', ' AUTH=SCRAM-SHA-256\r\n');
export const SUCCESS = '200 Success\r\n';
export const FAILED = '300 Authentication failed\r\n';
