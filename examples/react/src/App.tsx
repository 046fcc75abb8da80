import { useEffect, useState } from "react";
import { api } from "./api";
import { Items } from "./Items";
import { SignIn } from "./SignIn";

export function App() {
  // Undefined until the server has answered, and null for a guest.
  const [email, setEmail] = useState<string | null>();

  async function findUser() {
    const { data } = await api.GET("/api/v1/users/me");
    setEmail(data?.email ?? null);
  }

  useEffect(() => {
    void findUser();
  }, []);

  async function signOut() {
    await api.DELETE("/api/v1/auth/session");
    setEmail(null);
  }

  if (email === undefined) return null;
  if (email === null) return <SignIn onSignedIn={findUser} />;
  return (
    <>
      <header>
        <span>{email}</span>
        <button onClick={signOut}>Sign out</button>
      </header>
      <Items onSignedOut={() => setEmail(null)} />
    </>
  );
}
