// The English of the instructions, which is the model: its keys and the names in braces are what the types
// hold the other languages and the callers to; so a text is one literal, however long.

export const ENGLISH = {
  'set-up': 'Set up',
  check: 'Check',
  undo: 'Undo',
  'write-file': 'Write {path}, mode {mode}:',
  'by-v6v4': 'protocol 41',
  'by-v6udpv4': 'UDP',

  'no-udp':
    '{title} cannot carry a tunnel in UDP, which this one uses: connect with the Sixway client or gogoc on a machine behind it, or, if it has a public IPv4 address itself, change the tunnel to protocol 41.',
  'no-protocol-41':
    'This way is for tunnels in UDP, and yours uses protocol 41: take one of the other ways for your system.',
  'no-nat':
    '{title} speaks protocol 41, which has no ports, so a NAT cannot tell whose its packets are: connect with the Sixway client or gogoc, which go through a NAT in UDP.',
  'no-address':
    'The broker does not know the public IPv4 address of {title} yet: give it on the tunnel’s page, then come back.',

  endpoint:
    'The broker takes this tunnel’s packets from the IPv4 address {address} only. When yours changes, change it on the tunnel’s page or by its update address.',
  'as-root': 'Run the commands as root, on the system that is to have the tunnel.',
  'as-root-in-one-shell': 'Run the commands as root, all of them in the same shell.',
  'as-administrator': 'Open a command prompt as administrator, and enter:',
  'router-lines': 'Log in to the router and enter:',
  'in-the-web-interface': 'Open {menu} in the web interface, and fill in:',
  'if-firewall': 'If a firewall runs on this system, let IP protocol 41 from {server} in.',
  reachable:
    'From now on the whole IPv6 internet can reach this system and what is behind it: see that your firewall filters IPv6 as it filters IPv4.',
  'not-lasting':
    'This holds until the next restart. For a tunnel that comes back by itself take systemd-networkd, NetworkManager, netplan or ifupdown.',
  'lan-stands-for':
    '{lan} stands for the interface of your own network; write its name wherever yours has another.',
  'wan-stands-for':
    '{wan} stands for the interface that has your IPv4 address; write its name wherever yours has another.',
  'prefix-to-lan':
    'Give your network the first /64 of your prefix {prefix}. What you do not use of it is refused here, or it would go round between the broker and you.',
  'prefix-to-lan-plain': 'Give your network the first /64 of your prefix {prefix}:',
  'prefix-unused':
    'Your prefix {prefix} is routed to this system, but these steps set up no network behind it: for that use a router, Linux or a BSD.',
  'prefix-by-client':
    'It gives the first /64 of your prefix {prefix} to {lan}, which stands for the interface of your own network; write its name wherever yours has another.',
  announce: 'Announce it to your network with radvd:',
  'add-lines': 'Add these lines to {path}:',
  'keep-sending':
    'Keep sending something through the tunnel, every {seconds} seconds or more often: when it is silent for long, the broker takes it for gone.',
  'monitor-keeps':
    'The gateway’s monitoring pings {gateway} and so keeps the tunnel alive: leave it on.',

  secret:
    'Write the tunnel’s secret in the place of {placeholder}. It was shown once, when it was made; on the tunnel’s page you can have another made.',
  'client-needs':
    'The client needs Linux 6.6 or later and root. It finds out by itself what gets through, keeps the tunnel alive and comes back after every change of address.',
  'client-try': 'Try it. It says when the tunnel is up; Ctrl+C ends it.',
  'client-service': 'Then let systemd start it with the machine:',
  'gogoc-needs':
    'gogoc is no longer in the distributions; with a copy of gogoCLIENT 1.2 this is its configuration. For a host process numbers above 65535 keep it from noticing keepalives: set kernel.pid_max to 65536.',
  'fou-needs':
    'The kernel carries the packets itself here and no program runs, but only a login tells the broker your port: the Sixway client does that.',
  'fou-login': 'Log in and keep the port that the login came from:',
  'fou-device': 'Give that port to the kernel and make the tunnel:',
  'fou-again':
    'After a restart, and whenever your address or a NAT’s port for you has changed, undo it and begin again. The Sixway client by itself does all that without being asked.',
  'networkd-applies': 'Let systemd-networkd read the files:',
  'netplan-applies': 'Let netplan carry it out; without an answer it takes it back:',
  'openwrt-packages': 'Log in to the router and install the protocol; LuCI then has it too:',
  'openwrt-prefix':
    'OpenWrt gives each network with an assignment length of 64 a part of your prefix {prefix} by itself.',
  'mikrotik-name':
    'RouterOS calls protocol 41 “6to4”; with a remote address it is a tunnel like this one.',
  'junos-flow': 'On an SRX let IPv6 through, and put the tunnel into the zone of the internet:',
  'junos-port':
    'The number of the ip- interface depends on the model: it is where its tunnel services are.',
  'fortigate-policy': 'Let your network out:',
  'assign-interface': 'In {menu} add the new GIF as an interface, enable it, and fill in:',
  'gateway-default': 'In {menu} make the new gateway the default for IPv6:',
  'advertise-menu': 'In {menu} switch on router advertisements for {lan}:',
  'windows-range':
    'Windows keeps this over restarts. It works only while the machine itself has a public IPv4 address.',
  'macos-lasting': 'macOS forgets this at the next restart.',

  'check-gateway': 'The broker’s end of the tunnel answers:',
  'check-beyond': 'And so does the IPv6 internet behind it:',
  'if-silent':
    'If not, look at the tunnel’s page: it says whether packets arrive, and what is wrong with them.',
  'undo-menu': 'In {menu} delete the new entries, the last one first.',
  'undo-lines': 'Take the lines out of {path} again.',
} as const satisfies Readonly<Record<string, string>>;

export type TextKey = keyof typeof ENGLISH;
export type Texts = Readonly<Record<TextKey, string>>;

export type NamesIn<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? Name | NamesIn<Rest>
  : never;
export type TextValues<K extends TextKey> = Readonly<Record<NamesIn<(typeof ENGLISH)[K]>, string>>;
