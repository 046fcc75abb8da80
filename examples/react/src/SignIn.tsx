import { useState } from "react";
import { api, describe, type Problem } from "./api";

export function SignIn({ onSignedIn }: { onSignedIn: () => void }) {
  const [error, setError] = useState("");
  const [challenge, setChallenge] = useState<string>();

  async function send(form: FormData) {
    const text = (name: string) => String(form.get(name));
    const { error: problem } = challenge
      ? await api.POST("/api/v1/auth/session/second-factor", {
          body: { challenge, code: text("code") },
        })
      : await api.POST("/api/v1/auth/session", {
          body: { email: text("email"), password: text("password") },
        });
    if (!problem) return onSignedIn();
    // The password is right, and the account has a second factor.
    const next = (problem as Problem & { challenge?: string }).challenge;
    setChallenge(next ?? challenge);
    setError(next ? "" : describe(problem));
  }

  return (
    <main>
      <h1>Sign in</h1>
      <form action={send}>
        {challenge ? (
          <label>
            Code <input name="code" autoComplete="one-time-code" required />
          </label>
        ) : (
          <>
            <label>
              Email <input name="email" type="email" autoComplete="username" required />
            </label>
            <label>
              Password
              <input name="password" type="password" autoComplete="current-password" required />
            </label>
          </>
        )}
        {error && <p role="alert">{error}</p>}
        <button>Sign in</button>
      </form>
    </main>
  );
}
