type Env = Readonly<Record<string, string | undefined>>;

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };

/**
 * The proxy for a URL, or "" for none, by the conventions of curl: the lower-case variable wins, NO_PROXY holds host
 * names with or without a leading dot or `*.` (which also match what is below them), optional ports, or `*`.
 */
export function proxyFor(url: string, env: Env): string {
  const { protocol, hostname, port } = new URL(url);
  const proxy = read(env, protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") || read(env, "ALL_PROXY");
  if (proxy === "" || bypasses(hostname.toLowerCase(), port || (DEFAULT_PORTS[protocol] ?? ""), env))
    return "";
  return proxy.includes("://") ? proxy : `http://${proxy}`;
}

/** The password in a proxy's URL, to be masked. */
export function proxyPasswords(env: Env): string[] {
  const found: string[] = [];
  for (const name of ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"]) {
    const match = /^(?:[a-z0-9+]+:\/\/)?[^/@]*:([^/@]+)@/i.exec(read(env, name));
    if (match?.[1] !== undefined) found.push(match[1]);
  }
  return found;
}

function bypasses(host: string, port: string, env: Env): boolean {
  const entries = read(env, "NO_PROXY")
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "");
  return entries.some((entry) => {
    if (entry === "*") return true;
    const [, name = "", entryPort] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
    if (entryPort !== undefined && entryPort !== port) return false;
    const bare = name.replace(/^\*?\./, "");
    return host === bare || host.endsWith(`.${bare}`);
  });
}

function read(env: Env, name: string): string {
  return (env[name.toLowerCase()] ?? env[name] ?? "").trim();
}
